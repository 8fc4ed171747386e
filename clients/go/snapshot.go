package multirate

import (
	"context"

	multiratev1 "multirate/proto/multirate/v1"
)

// Snapshot returns the run's whole state in the service as opaque bytes that
// belong in the trainer's checkpoint.
//
// Rates declared with [Run.Applied] since the last Rate reach the service with
// the next one: a trainer that takes its checkpoint between the two declares
// them again after restoring.
func (r *Run) Snapshot(ctx context.Context) ([]byte, error) {
	if err := r.Flush(ctx); err != nil {
		return nil, err
	}
	resp, err := r.client.service.SnapshotRun(ctx, &multiratev1.SnapshotRunRequest{RunId: r.ID()})
	return resp.GetSnapshot(), callError("SnapshotRun", err)
}

// Restore puts the run back to a snapshot. Its rates from there on are those
// that it gave before.
func (r *Run) Restore(ctx context.Context, snapshot []byte) error {
	resp, err := r.client.service.RestoreRun(ctx, &multiratev1.RestoreRunRequest{
		Snapshot:  snapshot,
		RunId:     r.ID(),
		Overwrite: true,
	})
	if err != nil {
		return callError("RestoreRun", err)
	}
	r.asker.close()
	return r.adopt(resp.GetRun())
}

// RestoreRun makes a run of a snapshot, on this server or another one, under
// the given id, "" for the snapshot's own. An existing run of that id is an
// error; [Run.Restore] replaces one.
func (c *Client) RestoreRun(ctx context.Context, snapshot []byte, id string, opts ...RunOption) (*Run, error) {
	resp, err := c.service.RestoreRun(ctx, &multiratev1.RestoreRunRequest{Snapshot: snapshot, RunId: id})
	if err != nil {
		return nil, callError("RestoreRun", err)
	}
	return c.open(resp.GetRun(), opts)
}
