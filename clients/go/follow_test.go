package multirate

import (
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	multiratev1 "multirate/proto/multirate/v1"
)

// ownedBy is the refusal of a replica that names another.
func ownedBy(t *testing.T, address string) error {
	t.Helper()
	st, err := status.New(codes.Unavailable, "owned elsewhere").WithDetails(
		&errdetails.ErrorInfo{Domain: "multirate", Reason: "OWNED_ELSEWHERE", Metadata: map[string]string{"owner": address}})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// listening serves on a loopback port, until the test ends or stop is called.
func listening(t *testing.T, service *fakeService) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	multiratev1.RegisterLearningRateServiceServer(server, service)
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			server.Stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return listener.Addr().String(), stop
}

// TestRunsAreFollowedToTheirOwner: a call or stream that a replica refuses in
// another's name goes on there.
func TestRunsAreFollowedToTheirOwner(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			owner := &fakeService{advice: rateAdvice(0.25)}
			address, _ := listening(t, owner)
			service := &fakeService{advice: rateAdvice(0.5)}
			run := newRun(t, service, opts...)
			owner.run = proto.CloneOf(service.run)
			// gRPC repeats a call before the client sees why it was refused.
			service.failures = slices.Repeat([]error{ownedBy(t, address)}, 5)
			if advice := mustRate(t, run, 1, []float64{1, 1, 1}); advice.LearningRate != 0.25 {
				t.Errorf("rate %g, want the owner's", advice.LearningRate)
			}
			if got := stepsAsked(owner); !slices.Equal(got, []int64{0}) {
				t.Errorf("the owner was asked for steps %d", got)
			}
		})
	}
}

// TestOwnersThatNameEachOther: a run that is nowhere is an error, and no endless
// chase.
func TestOwnersThatNameEachOther(t *testing.T) {
	for name, opts := range transports {
		t.Run(name, func(t *testing.T) {
			one, two := &fakeService{}, &fakeService{}
			first, _ := listening(t, one)
			second, _ := listening(t, two)
			service := &fakeService{}
			run := newRun(t, service, opts...)
			service.failures = slices.Repeat([]error{ownedBy(t, first)}, 100)
			one.failures = slices.Repeat([]error{ownedBy(t, second)}, 100)
			two.failures = slices.Repeat([]error{ownedBy(t, first)}, 100)
			_, err := run.Rate(t.Context(), 1, []float64{1, 1, 1})
			if ReasonOf(err) != "OWNED_ELSEWHERE" {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestTheNextAddressOfAList: of several addresses the next one is used when one
// is lost.
func TestTheNextAddressOfAList(t *testing.T) {
	first, stopFirst := listening(t, &fakeService{advice: rateAdvice(0.5), run: &multiratev1.Run{}})
	second, _ := listening(t, &fakeService{advice: rateAdvice(0.25), run: &multiratev1.Run{}})
	client, err := Dial(t.Context(), first+","+second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for step, want := range []float64{0.5, 0.25} {
		resp, err := client.Service().GetLearningRate(t.Context(), &multiratev1.GetLearningRateRequest{Step: int64(step)})
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Rates[0].LearningRate; got != want {
			t.Errorf("step %d: rate %g, want %g", step, got, want)
		}
		stopFirst()
	}
	if _, err := Dial(t.Context(), first+",here"); err == nil || !strings.Contains(err.Error(), "host:port") {
		t.Errorf("an address that is none: %v", err)
	}
}
