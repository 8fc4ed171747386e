package multirate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrNotFinite means that the loss or the gradient is NaN or infinite, found
// before anything was sent. A trainer with a gradient scaler skips the step;
// any other goes back to a checkpoint.
var ErrNotFinite = errors.New("multirate: loss or gradient is not finite")

// Error is a call that the service refused or that never reached it. It is also
// a gRPC status ([status.FromError] finds it), and a context error where the
// status says so.
type Error struct {
	// Method is the call, "GetLearningRate" say.
	Method string
	// Code is the canonical code.
	Code codes.Code
	// Message is the service's sentence.
	Message string
	// Reason is the service's stable reason in UPPER_SNAKE, "" when it gave
	// none, as when it was never reached.
	Reason string
	// Violations lists the offending fields.
	Violations []Violation
	// RetryAfter is the wait that the service asks for, 0 when it asks for
	// none.
	RetryAfter time.Duration

	status *status.Status
}

// Violation is one offending field of a refused request.
type Violation struct {
	// Field is its path, "statistics.sketches[0].values" say.
	Field string
	// Description says what is wrong, what the limit is and what to do.
	Description string
}

// Error names the call, the code, the reason and every offending field.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "multirate: %s: %s", e.Method, e.Code)
	if e.Reason != "" {
		fmt.Fprintf(&b, " (%s)", e.Reason)
	}
	fmt.Fprintf(&b, ": %s", e.Message)
	for _, v := range e.Violations {
		fmt.Fprintf(&b, "; %s: %s", v.Field, v.Description)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, "; retry in %s", e.RetryAfter)
	}
	return b.String()
}

// GRPCStatus returns the status with all its details.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Is reports whether the call ended as a context error would have it.
func (e *Error) Is(target error) bool {
	switch target {
	case context.Canceled:
		return e.Code == codes.Canceled
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	}
	return false
}

// ReasonOf returns the stable reason that the service gave for err, "" when
// there is none.
func ReasonOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// callError dresses a gRPC error of a method; nil stays nil.
func callError(method string, err error) error {
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	if _, ok := status.FromError(err); !ok {
		st = status.FromContextError(err)
	}
	e := &Error{Method: method, Code: st.Code(), Message: st.Message(), status: st}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			e.Reason = d.GetReason()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Violations = append(e.Violations, Violation{v.GetField(), v.GetDescription()})
			}
		case *errdetails.QuotaFailure:
			for _, v := range d.GetViolations() {
				e.Violations = append(e.Violations, Violation{v.GetSubject(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return e
}
