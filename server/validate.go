package server

import (
	"fmt"
	"math"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
)

// maxViolations bounds the reply: details travel in HTTP/2 trailers, for which
// some clients allow no more than 8 KiB.
const maxViolations = 8

// violations collects what is wrong with a request, field by field. A
// description reads on from the field's name: "is -1, must be >= 0: do this".
// The zero value is ready, and costs nothing while all is well.
type violations struct {
	list []*errdetails.BadRequest_FieldViolation
	more int
}

func (v *violations) add(reason, field, format string, args ...any) {
	if len(v.list) == maxViolations {
		v.more++
		return
	}
	v.list = append(v.list, &errdetails.BadRequest_FieldViolation{
		Field: field, Description: fmt.Sprintf(format, args...), Reason: reason,
	})
}

// err is INVALID_ARGUMENT with the reason of the first violation, or nil when
// there is none.
func (v *violations) err() error {
	if len(v.list) == 0 {
		return nil
	}
	first := v.list[0]
	message := first.Field + " " + first.Description
	if n := len(v.list) - 1 + v.more; n > 0 {
		message = fmt.Sprintf("%s (and %d more)", message, n)
	}
	return refuse(codes.InvalidArgument, first.Reason, message, &errdetails.BadRequest{FieldViolations: v.list})
}

// finite demands a finite number.
func (v *violations) finite(field string, x float64, advice string) bool {
	if isFinite(x) {
		return true
	}
	v.add(ReasonNotFinite, field, "is %v, must be finite: %s", x, advice)
	return false
}

// nonNegative demands a finite number >= 0.
func (v *violations) nonNegative(field string, x float64, advice string) {
	if x >= 0 && x <= math.MaxFloat64 {
		return
	}
	if v.finite(field, x, advice) {
		v.add(ReasonOutOfRange, field, "is %v, must be >= 0: %s", x, advice)
	}
}

// within demands lo <= x <= hi.
func (v *violations) within(field string, x, lo, hi int64, advice string) bool {
	if x >= lo && x <= hi {
		return true
	}
	v.add(ReasonOutOfRange, field, "is %d, must be %d to %d: %s", x, lo, hi, advice)
	return false
}

// runID demands a well-formed id.
func (v *violations) runID(field, id string) {
	if id == "" {
		v.add(ReasonRequired, field, "is missing: name the run")
	} else if !validRunID(id) {
		v.add(ReasonInvalidFormat, field, "is %.140q, must be 1 to 128 characters of [A-Za-z0-9._-]: choose another id", id)
	}
}

func validRunID(id string) bool {
	if len(id) < 1 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func isFinite(x float64) bool { return math.Abs(x) <= math.MaxFloat64 }
