package journal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of a [Journal].
var (
	// ErrLocked means that another process has the folder open.
	ErrLocked = errors.New("another process uses this data directory")
	// ErrConflict means that the run's history has gone on since: load it again.
	ErrConflict = errors.New("the history has gone on since")
	// ErrFull means that the events have reached [Options.MaxBytes]; delete runs
	// or raise the limit.
	ErrFull = errors.New("the journal is full")
	// ErrDiskFull means that the disk has less room than [Options.ReserveBytes].
	ErrDiskFull = errors.New("the disk is almost full")
	// ErrTooLarge means that an event or snapshot is larger than the cluster takes
	// in one message; raise max_payload of its nodes.
	ErrTooLarge = errors.New("larger than the NATS cluster's max_payload")
	// ErrUnavailable means that the storage did not answer, or failed. Whether
	// what was asked for took place is unknown: load the history again.
	ErrUnavailable = errors.New("the storage failed")
)

const (
	codeStoreFailed jetstream.ErrorCode = 10077
	noRoomText                          = "maximum bytes exceeded"
)

// translate makes an error of JetStream one of this package's.
func translate(doing string, err error) error {
	kind := ErrUnavailable
	if errors.Is(err, nats.ErrMaxPayload) {
		kind = ErrTooLarge
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch {
		case api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence,
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant: // as a cluster says it
			kind = ErrConflict
		case api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, noRoomText):
			kind = ErrFull
		}
	}
	return fmt.Errorf("%s: %w: %w", doing, kind, err)
}
