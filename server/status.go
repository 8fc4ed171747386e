package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"multirate/scheduler"
	"multirate/server/cluster"
	"multirate/server/journal"
)

// Domain is the domain of every ErrorInfo of this service.
const Domain = "multirate"

// Reasons of ErrorInfo and of field violations. They are part of the contract:
// clients may branch on them, so none is ever renamed.
const (
	ReasonRequired            = "REQUIRED"
	ReasonOutOfRange          = "OUT_OF_RANGE"
	ReasonNotFinite           = "NOT_FINITE"
	ReasonInvalidFormat       = "INVALID_FORMAT"
	ReasonDuplicate           = "DUPLICATE"
	ReasonOutputOnly          = "OUTPUT_ONLY"
	ReasonNegativeStep        = "NEGATIVE_STEP"
	ReasonWrongDimension      = "WRONG_DIMENSION"
	ReasonNotApplicable       = "NOT_APPLICABLE"
	ReasonNotOffered          = "NOT_OFFERED"
	ReasonAppliedRateRequired = "APPLIED_RATE_REQUIRED"

	ReasonRunNotFound  = "RUN_NOT_FOUND"
	ReasonRunExists    = "RUN_EXISTS"
	ReasonRunDeleted   = "RUN_DELETED"
	ReasonRunRestored  = "RUN_RESTORED"
	ReasonRunMixed     = "RUN_MIXED"
	ReasonTooManyRuns  = "TOO_MANY_RUNS"
	ReasonStepAnswered = "STEP_ALREADY_ANSWERED"
	ReasonNoSpectrum   = "NO_SPECTRUM"

	ReasonSnapshotDamaged = "SNAPSHOT_DAMAGED"
	ReasonSnapshotVersion = "SNAPSHOT_VERSION"

	ReasonJournalUnavailable = "JOURNAL_UNAVAILABLE"
	ReasonJournalFull        = "JOURNAL_FULL"
	ReasonDiskFull           = "DISK_FULL"
	ReasonHistoryDamaged     = "HISTORY_DAMAGED"
	ReasonEventTooLarge      = "EVENT_TOO_LARGE"
	ReasonOwnedElsewhere     = "OWNED_ELSEWHERE"

	ReasonStartExpected      = "START_EXPECTED"
	ReasonChunkOutOfOrder    = "CHUNK_OUT_OF_ORDER"
	ReasonChunkSize          = "CHUNK_SIZE"
	ReasonChunkChecksum      = "CHUNK_CHECKSUM"
	ReasonStreamCut          = "STREAM_CUT"
	ReasonEstimateInProgress = "ESTIMATE_IN_PROGRESS"
	ReasonMemoryBudget       = "MEMORY_BUDGET"
	ReasonProductsUnusable   = "PRODUCTS_UNUSABLE"
	ReasonSpectrumUnusable   = "SPECTRUM_UNUSABLE"

	ReasonUnauthenticated = "UNAUTHENTICATED"
	ReasonRateLimited     = "RATE_LIMITED"
	ReasonTooManyStreams  = "TOO_MANY_STREAMS"

	ReasonStopping  = "SERVER_STOPPING"
	ReasonCancelled = "CANCELLED"
	ReasonDeadline  = "DEADLINE_EXCEEDED"
	ReasonInternal  = "INTERNAL"
)

// refuse makes a status with an ErrorInfo in front of the other details.
func refuse(code codes.Code, reason, message string, details ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: Domain}
	st, err := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if err != nil { // only for codes.OK
		return status.Error(codes.Internal, message)
	}
	return st.Err()
}

func refusef(code codes.Code, reason, format string, args ...any) error {
	return refuse(code, reason, fmt.Sprintf(format, args...))
}

// refuseField is a refusal that one field is to blame for, under a code other
// than INVALID_ARGUMENT; see violations for that one.
func refuseField(code codes.Code, reason, field, format string, args ...any) error {
	description := fmt.Sprintf(format, args...)
	return refuse(code, reason, field+" "+description, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: field, Description: description, Reason: reason},
		},
	})
}

// refuseQuota is RESOURCE_EXHAUSTED. subject is what the quota is of.
func refuseQuota(reason, subject, metric string, limit int64, format string, args ...any) error {
	description := fmt.Sprintf(format, args...)
	return refuse(codes.ResourceExhausted, reason, description, &errdetails.QuotaFailure{
		Violations: []*errdetails.QuotaFailure_Violation{
			{Subject: subject, Description: description, QuotaMetric: metric, QuotaValue: limit},
		},
	})
}

// stopping is the status of calls that a graceful stop turns away. The delay is
// about what a restart takes.
func stopping() error {
	return refuse(codes.Unavailable, ReasonStopping,
		"the server is stopping: call again in a moment, on a new connection",
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
}

func runNotFound(id string) error {
	return refusef(codes.NotFound, ReasonRunNotFound,
		"there is no run %.128q on this server: create it with CreateRun or bring it back with RestoreRun", id)
}

func runExists(id, advice string) error {
	return refusef(codes.AlreadyExists, ReasonRunExists, "there is a run %q already: %s", id, advice)
}

func unauthenticated(err error) error {
	return refusef(codes.Unauthenticated, ReasonUnauthenticated,
		"%v: send `authorization: Bearer TOKEN` with a token of this service's, or connect with a client certificate where it asks for one", err)
}

// rateLimited is the status of a call above its tenant's rate.
func rateLimited(t *tenant) error {
	wait := time.Duration(float64(time.Second) / t.limits.Rate)
	return refuse(codes.ResourceExhausted, ReasonRateLimited,
		fmt.Sprintf("more than %g calls a second: call again in %v, or let upcoming rates save calls", t.limits.Rate, wait),
		&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{
			Subject: "tenant:" + t.name, Description: "calls a second", QuotaMetric: "calls_per_second", QuotaValue: int64(t.limits.Rate),
		}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
}

// journalError translates an error of the journal. The run is as the journal
// has it: as it was, or, where that failed to answer, perhaps as it would be.
func journalError(id string, err error) error {
	switch {
	case errors.Is(err, journal.ErrFull):
		return refuse(codes.ResourceExhausted, ReasonJournalFull,
			"the journal of all runs has reached its size: delete finished runs, or have its limit raised", quota("journal", "bytes", err))
	case errors.Is(err, journal.ErrDiskFull):
		return refuse(codes.ResourceExhausted, ReasonDiskFull,
			"the server's disk is almost full, so that no step is taken: make room there; the run goes on by itself then", quota("disk", "bytes", err))
	}
	if errors.Is(err, journal.ErrTooLarge) {
		return refuse(codes.ResourceExhausted, ReasonEventTooLarge,
			"this is larger than the NATS cluster takes in one message: have max_payload of its nodes raised", quota("nats", "bytes", err))
	}
	what := "the runs can't be counted"
	if id != "" {
		what = fmt.Sprintf("run %q can't be kept or read", id)
	}
	return refuse(codes.Unavailable, ReasonJournalUnavailable,
		fmt.Sprintf("%s now: call again in a moment: %v", what, err),
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
}

func quota(subject, metric string, err error) *errdetails.QuotaFailure {
	return &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
		{Subject: subject, Description: err.Error(), QuotaMetric: metric},
	}}
}

// historyDamaged is the status of a run that can't be brought back.
func historyDamaged(id string, cause error) error {
	return refusef(codes.DataLoss, ReasonHistoryDamaged,
		"the history of run %q is damaged, %v: bring the run back from a checkpoint with RestoreRun and overwrite, or delete it", id, cause)
}

// Causes that end the life of a run's state; see [run.life].
var (
	errDeleted  = errors.New("run deleted")
	errRestored = errors.New("run restored")
)

// ended translates the cause that a run's life ended with.
func ended(id string, cause error) error {
	var elsewhere *cluster.Elsewhere
	switch {
	case errors.As(cause, &elsewhere):
		return moved(id, elsewhere)
	case errors.Is(cause, errGivenBack):
		return stopping()
	case errors.Is(cause, errTakenUp):
		return journalError(id, cause)
	}
	if errors.Is(cause, errRestored) {
		return refusef(codes.Aborted, ReasonRunRestored,
			"run %q was restored from a snapshot while this call was under way: call again", id)
	}
	return refusef(codes.Aborted, ReasonRunDeleted, "run %q was deleted while this call was under way", id)
}

// interrupted translates the end of a call's context.
func interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return refuse(codes.DeadlineExceeded, ReasonDeadline, "the call's deadline has passed")
	}
	return refuse(codes.Canceled, ReasonCancelled, "the call was cancelled")
}

// coreError translates an error of the scheduler. Validation should have caught
// each of them, so the messages are only as good as the core's.
func coreError(err error) error {
	switch {
	case errors.Is(err, scheduler.ErrNotFinite):
		return refuse(codes.InvalidArgument, ReasonNotFinite, err.Error())
	case errors.Is(err, scheduler.ErrBelowBound):
		var v violations
		v.add(ReasonOutOfRange, "statistics.loss", "%v: declare a true loss_lower_bound, or none", err)
		return v.err()
	case errors.Is(err, scheduler.ErrSketchDimension):
		return refuse(codes.InvalidArgument, ReasonWrongDimension, err.Error())
	case errors.Is(err, scheduler.ErrStepOrder):
		return refuse(codes.FailedPrecondition, ReasonStepAnswered, err.Error())
	case errors.Is(err, scheduler.ErrConfig):
		return refuse(codes.InvalidArgument, ReasonOutOfRange, err.Error())
	}
	return refuse(codes.Internal, ReasonInternal, err.Error())
}
