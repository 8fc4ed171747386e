package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
	"multirate/server/cluster"
	"multirate/server/journal"
)

// replica is one of several servers on a NATS node in this process.
type replica struct {
	pb.LearningRateServiceClient
	address string
	member  *cluster.Member
	journal *held
	stop    func()
}

// held is a journal whose next append waits.
type held struct {
	*journal.Journal
	before atomic.Pointer[func()]
}

func (h *held) Append(ctx context.Context, run string, after uint64, event []byte) (uint64, error) {
	if before := h.before.Swap(nil); before != nil {
		(*before)()
	}
	return h.Journal.Append(ctx, run, after, event)
}

// natsNode is a NATS server with JetStream on a loopback port.
func natsNode(t testing.TB) (url string) {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server did not start")
	}
	return s.ClientURL()
}

// startReplica starts a replica and serves until the test ends or stop is called,
// which drains it.
func startReplica(t testing.TB, url string, options Options) *replica {
	t.Helper()
	j, err := journal.Connect(context.Background(), journal.Remote{URL: url, Replicas: 1}, journal.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{address: socket(t), journal: &held{Journal: j}}
	r.member, err = cluster.Join(context.Background(), j.Connection(), cluster.Options{Address: r.address, TTL: time.Second, Replicas: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	options.Journal, options.Cluster = r.journal, r.member
	t.Cleanup(func() {
		_ = r.member.Leave(context.Background()) // it may have left
		_ = j.Close()
	})
	_, r.stop = serve(t, r.address, options)
	r.LearningRateServiceClient = dial(t, r.address)
	return r
}

func declaredRun(id string) *pb.Run {
	return &pb.Run{RunId: id, Dimension: 15, LossLowerBound: proto.Float64(0), Sketch: &pb.SketchSpec{Dimension: 15}}
}

// TestAnyReplicaTakesAnyCall compares a run whose calls go to one replica after
// the other with one in a single server.
func TestAnyReplicaTakesAnyCall(t *testing.T) {
	url := natsNode(t)
	at := time.Unix(1_700_000_000, 12345)
	options := Options{Now: func() time.Time { return at }}
	replicas := []*replica{startReplica(t, url, options), startReplica(t, url, options), startReplica(t, url, options)}
	undisturbed := start(t, options)
	create(t, undisturbed, declaredRun("r.1"))
	create(t, replicas[0], declaredRun("r.1"))
	create(t, replicas[1], declaredRun("r.1")) // again: it is the same run
	want := newTrainer("r.1", threeScales(), 15)
	got := want.clone()
	for i := range 60 {
		a, b := want.train(t, undisturbed, 1), got.train(t, replicas[i%3], 1)
		sameMessage(t, fmt.Sprintf("answer %d", i), b[0], a[0])
	}
	for _, c := range []pb.LearningRateServiceClient{undisturbed, replicas[2]} {
		if _, err := c.ReportLanczos(t.Context(), &pb.ReportLanczosRequest{RunId: "r.1",
			Coefficients: &pb.LanczosCoefficients{Alpha: []float64{1, 0.01}, Beta: []float64{1e-6}}}); err != nil {
			t.Fatal(err)
		}
	}
	saved := snapshot(t, replicas[1], "r.1")
	if want := snapshot(t, undisturbed, "r.1"); !bytes.Equal(saved.Snapshot, want.Snapshot) {
		t.Error("snapshots differ")
	}
	if _, err := replicas[2].GetSpectrum(t.Context(), &pb.GetSpectrumRequest{RunId: "r.1"}); err != nil {
		t.Error(err)
	}
	_, err := replicas[1].GetLearningRate(t.Context(), &pb.GetLearningRateRequest{RunId: "r.1", Step: 1, Statistics: got.statistics()})
	wantRefusal(t, err, refusal{codes.FailedPrecondition, ReasonStepAnswered, "step"}) // with its details
	if _, err := replicas[2].RestoreRun(t.Context(), &pb.RestoreRunRequest{RunId: "r.1", Snapshot: saved.Snapshot, Overwrite: true}); err != nil {
		t.Error(err)
	}
	_, err = replicas[1].CreateRun(t.Context(), &pb.CreateRunRequest{Run: &pb.Run{RunId: "r.1", Dimension: 7}})
	wantRefusal(t, err, refusal{codes.AlreadyExists, ReasonRunExists, ""})
	if _, err := replicas[1].DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: "r.1"}); err != nil {
		t.Fatal(err)
	}
	for i, c := range replicas {
		_, err := c.GetRun(t.Context(), &pb.GetRunRequest{RunId: "r.1"})
		wantRefusal(t, err, refusal{codes.NotFound, ReasonRunNotFound, ""})
		create(t, replicas[2-i], declaredRun("r.1")) // and made anew by whichever
		if _, err := c.DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: "r.1"}); err != nil {
			t.Error(err)
		}
	}
}

// wantOwner demands a status that sends the client to a replica.
func wantOwner(t *testing.T, err error, owner *replica) {
	t.Helper()
	wantRefusal(t, err, refusal{codes.Unavailable, ReasonOwnedElsewhere, ""})
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Metadata["owner"] != owner.address {
			t.Errorf("owner %q, want %q", info.Metadata["owner"], owner.address)
		}
	}
}

func TestStreamsAreSentToTheOwner(t *testing.T) {
	url := natsNode(t)
	a, b := startReplica(t, url, Options{}), startReplica(t, url, Options{})
	create(t, a, declaredRun("r"))
	tr := newTrainer("r", threeScales(), 15)
	rates, err := b.StreamLearningRates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := rates.Send(&pb.StreamLearningRatesRequest{Request: tr.request()}); err != nil {
		t.Fatal(err)
	}
	_, err = rates.Recv()
	wantOwner(t, err, a)
	watch, err := b.WatchRun(t.Context(), &pb.WatchRunRequest{RunId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = watch.Recv()
	wantOwner(t, err, a)
	estimate, err := b.EstimateSpectrum(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := estimate.Send(&pb.EstimateSpectrumRequest{Message: &pb.EstimateSpectrumRequest_Start{Start: &pb.EstimateSpectrumStart{RunId: "r"}}}); err != nil {
		t.Fatal(err)
	}
	_, err = estimate.Recv()
	wantOwner(t, err, a)
}

// TestALateOwnerCannotWrite: a replica that has lost a run between computing a
// step and keeping it neither answers the step nor harms the run.
func TestALateOwnerCannotWrite(t *testing.T) {
	url := natsNode(t)
	a, b := startReplica(t, url, Options{}), startReplica(t, url, Options{})
	undisturbed := start(t, Options{})
	create(t, undisturbed, declaredRun("r"))
	create(t, a, declaredRun("r"))
	want := newTrainer("r", threeScales(), 15)
	got := want.clone()
	for _, answer := range got.train(t, a, 20) {
		sameMessage(t, "answer", answer, want.train(t, undisturbed, 1)[0])
	}
	late := got.request()
	meanwhile := func() { // a pause in which the lease ends, and the trainer goes on elsewhere
		if err := a.member.Leave(context.Background()); err != nil {
			t.Error(err)
		}
		for i := range 5 {
			sameMessage(t, fmt.Sprintf("answer %d of the new owner", i), got.train(t, b, 1)[0], want.train(t, undisturbed, 1)[0])
		}
	}
	a.journal.before.Store(&meanwhile)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if answer, err := a.GetLearningRate(ctx, late); err == nil {
		t.Errorf("the late owner answered %v", answer)
	}
	if got.step != 25 {
		t.Fatalf("the trainer is at step %d: nothing happened in between", got.step)
	}
	for i := range 20 {
		sameMessage(t, fmt.Sprintf("answer %d afterwards", i), got.train(t, b, 1)[0], want.train(t, undisturbed, 1)[0])
	}
}

// TestUnknownOutcomesInACluster: a step of which nobody knows whether it was kept
// is asked for again by the replica itself.
func TestUnknownOutcomesInACluster(t *testing.T) {
	url := natsNode(t)
	j, err := journal.Connect(context.Background(), journal.Remote{URL: url, Replicas: 1}, journal.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	member, err := cluster.Join(context.Background(), j.Connection(), cluster.Options{Address: "a:1", Replicas: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(member.Leave(context.Background()), j.Close()) })
	f := &failing{Journal: j}
	c, undisturbed := start(t, Options{Journal: f, Cluster: member}), start(t, Options{})
	create(t, undisturbed, declaredRun("r"))
	create(t, c, declaredRun("r"))
	want := newTrainer("r", threeScales(), 15)
	got := want.clone()
	for i := range 40 {
		f.before.Store(i%5 == 1)
		f.after.Store(i%5 == 3)
		sameMessage(t, fmt.Sprintf("answer %d", i), got.train(t, c, 1)[0], want.train(t, undisturbed, 1)[0])
	}
}

// TestStoppingReplicasHandOver: their runs go on elsewhere at once, and who waits
// for their events is told.
func TestStoppingReplicasHandOver(t *testing.T) {
	url := natsNode(t)
	a, b := startReplica(t, url, Options{}), startReplica(t, url, Options{})
	create(t, a, declaredRun("r"))
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, a, 5)
	watch, err := a.WatchRun(t.Context(), &pb.WatchRunRequest{RunId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Header(); err != nil {
		t.Fatal(err)
	}
	a.stop() // its lease is still there: only giving runs back lets others have them
	_, err = watch.Recv()
	wantRefusal(t, err, refusal{codes.Unavailable, ReasonStopping, ""})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	answer, err := b.GetLearningRate(ctx, tr.request())
	if err != nil {
		t.Fatal(err)
	}
	tr.descend(answer.Rates[0].LearningRate)
	tr.train(t, b, 5)
}

// TestACutOffReplicaGivesWay: while it does not reach NATS another takes its runs
// over; it answers nothing meanwhile, and knows the new owner afterwards.
func TestACutOffReplicaGivesWay(t *testing.T) {
	url := natsNode(t)
	w := newCable(t, url)
	a, b := startReplica(t, w.url(), Options{}), startReplica(t, url, Options{})
	create(t, a, declaredRun("r"))
	tr := newTrainer("r", threeScales(), 15)
	tr.train(t, a, 5)
	watch, err := a.WatchRun(t.Context(), &pb.WatchRunRequest{RunId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Header(); err != nil {
		t.Fatal(err)
	}
	w.cut(true)
	tr.train(t, b, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if run, err := a.GetRun(ctx, &pb.GetRunRequest{RunId: "r"}); err == nil {
		t.Errorf("the replica that is cut off answers, with step %d of %d", run.Run.GetLatestStep(), tr.step)
	}
	w.cut(false)
	wantOwner(t, lastError(watch.Recv), b)
	tr.train(t, a, 5)
}

func TestRunsOfAllReplicasAreListed(t *testing.T) {
	url := natsNode(t)
	limits := Options{Tenant: TenantLimits{Runs: 7}}
	replicas := []*replica{startReplica(t, url, limits), startReplica(t, url, limits)}
	var ids []string
	for i := range 7 {
		id := fmt.Sprintf("r.%d", i)
		run := declaredRun(id)
		run.Labels = map[string]string{"odd": fmt.Sprint(i%2 == 1)}
		create(t, replicas[i%2], run)
		ids = append(ids, id)
	}
	for i, c := range replicas {
		_, err := c.CreateRun(t.Context(), &pb.CreateRunRequest{Run: declaredRun("one.more")})
		wantRefusal(t, err, refusal{codes.ResourceExhausted, ReasonTooManyRuns, ""})
		var got []string
		for token := ""; ; {
			page, err := c.ListRuns(t.Context(), &pb.ListRunsRequest{PageSize: 3, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Runs {
				got = append(got, r.RunId)
			}
			if token = page.NextPageToken; token == "" {
				break
			}
		}
		if !slices.Equal(got, ids) {
			t.Errorf("replica %d lists %q, want %q", i, got, ids)
		}
		odd, err := c.ListRuns(t.Context(), &pb.ListRunsRequest{Labels: map[string]string{"odd": "true"}})
		if err != nil || len(odd.Runs) != 3 {
			t.Errorf("replica %d lists %d odd runs, %v, want 3", i, len(odd.GetRuns()), err)
		}
	}
}

// TestLargeCallsAreSentToTheOwner: NATS takes 1 MiB in one message.
func TestLargeCallsAreSentToTheOwner(t *testing.T) {
	url := natsNode(t)
	a, b := startReplica(t, url, Options{}), startReplica(t, url, Options{})
	create(t, a, declaredRun("r"))
	var trailer metadata.MD
	_, err := b.GetLearningRate(t.Context(), &pb.GetLearningRateRequest{RunId: "r", Statistics: &pb.Statistics{
		Sketches: []*pb.Sketch{{Values: make([]float32, 1<<20)}},
	}}, grpc.Trailer(&trailer))
	wantOwner(t, err, a)
	if got := trailer.Get("grpc-retry-pushback-ms"); !slices.Equal(got, []string{"-1"}) {
		t.Errorf("pushback %q: gRPC repeats the call where it does not belong", got)
	}
}

// cable is a TCP connection to NATS that can be cut.
type cable struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	isCut    bool
	open     map[net.Conn]struct{}
	serving  sync.WaitGroup
}

// newCable forwards to a NATS node until the test ends.
func newCable(t *testing.T, url string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &cable{listener: l, target: strings.TrimPrefix(url, "nats://"), open: map[net.Conn]struct{}{}}
	w.serving.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		w.cut(true)
		w.serving.Wait()
	})
	return w
}

func (w *cable) url() string { return "nats://" + w.listener.Addr().String() }

func (w *cable) accept() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.target)
		if err != nil || !w.add(in, out) {
			_ = in.Close()
			continue
		}
		for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
			w.serving.Go(func() {
				_, _ = io.Copy(ends[0], ends[1]) // until either end goes
				_ = ends[0].Close()
			})
		}
	}
}

func (w *cable) add(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range ends {
		if w.isCut {
			_ = end.Close()
			continue
		}
		w.open[end] = struct{}{}
	}
	return !w.isCut
}

// cut ends all connections, and refuses others until it is called with false.
func (w *cable) cut(off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = off
	for end := range w.open {
		_ = end.Close()
		delete(w.open, end)
	}
}
