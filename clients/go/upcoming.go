package multirate

import (
	"context"
	"errors"
	"io"
	"math"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	multiratev1 "multirate/proto/multirate/v1"
)

// upcomingRates holds rates given in advance and the steps taken at them that
// the service does not know of yet.
type upcomingRates struct {
	enabled bool
	rates   []*multiratev1.UpcomingRates
	// limit is the loss above which the rates are void.
	limit float64
	// largest is the largest loss measured in the run, the limit where the
	// service knows none.
	largest float64
	reports []*multiratev1.ReportStatisticsRequest
	// uncertain: the service may know of some of the reports already.
	uncertain bool
}

// offer stores the rates of an answer to statistics.
func (u *upcomingRates) offer(resp *multiratev1.GetLearningRateResponse, statistics *Statistics) {
	u.withdraw()
	if !u.enabled {
		return
	}
	if statistics.Loss != nil {
		u.largest = max(u.largest, statistics.GetLoss())
	}
	u.limit = u.largest
	if resp.UpcomingLossLimit != nil {
		u.limit = resp.GetUpcomingLossLimit()
	}
	for _, rates := range resp.GetUpcoming() {
		if checkRates(rates.GetLearningRates(), len(resp.GetRates())) != nil {
			return
		}
		u.rates = append(u.rates, rates)
	}
}

// take answers a request by a rate given in advance, if one is still good, and
// notes the step for the next report.
func (u *upcomingRates) take(req *multiratev1.GetLearningRateRequest) ([]float64, bool) {
	loss := req.GetStatistics().Loss
	if len(u.rates) == 0 || loss == nil || !(*loss <= u.limit) {
		return nil, false
	}
	rates := u.rates[0].GetLearningRates()
	u.rates, u.largest = u.rates[1:], max(u.largest, *loss)
	u.reports = append(u.reports, &multiratev1.ReportStatisticsRequest{
		RunId:                req.GetRunId(),
		Step:                 req.GetStep(),
		Statistics:           req.GetStatistics(),
		AppliedLearningRates: req.GetAppliedLearningRates(),
	})
	return rates, true
}

// withdraw drops the rates, keeping the reports.
func (u *upcomingRates) withdraw() { u.rates = nil }

// clear drops everything.
func (u *upcomingRates) clear() { *u = upcomingRates{enabled: u.enabled, largest: math.Inf(-1)} }

// Flush reports the steps that were taken at upcoming rates and are not yet
// reported. Every call of the run that reads or moves its state does so by
// itself. Reports that the service refuses are dropped, since it would refuse
// them again; the next Rate goes on without them.
func (r *Run) Flush(ctx context.Context) error {
	if len(r.upcoming.reports) == 0 {
		return nil
	}
	if r.upcoming.uncertain {
		return r.reportRemaining(ctx)
	}
	err := r.report(ctx)
	if status.Code(err) == codes.Unavailable {
		return r.reportRemaining(ctx)
	}
	return err
}

// reportRemaining reports what the service does not know of after an attempt of
// which the outcome was lost.
func (r *Run) reportRemaining(ctx context.Context) error {
	// Reports are applied when received; GetRun, which is retried, says how far
	// that went.
	resp, err := r.client.service.GetRun(ctx, &multiratev1.GetRunRequest{RunId: r.ID()})
	if err != nil {
		return callError("GetRun", err)
	}
	for latest := resp.GetRun(); len(r.upcoming.reports) > 0 && latest.LatestStep != nil &&
		r.upcoming.reports[0].GetStep() <= latest.GetLatestStep(); {
		r.upcoming.reports = r.upcoming.reports[1:]
	}
	r.upcoming.uncertain = false
	if len(r.upcoming.reports) == 0 {
		return nil
	}
	return r.report(ctx)
}

// report sends all reports and forgets them once they are acknowledged or
// refused.
func (r *Run) report(ctx context.Context) error {
	err := callError("ReportStatistics", r.sendReports(ctx))
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		r.upcoming.uncertain = true
	default:
		r.upcoming.reports = nil
	}
	return err
}

// sendReports sends all reports on one stream.
func (r *Run) sendReports(ctx context.Context) error {
	_, err := following(r.client, func(service multiratev1.LearningRateServiceClient) (struct{}, error) {
		return struct{}{}, r.sendReportsTo(ctx, service)
	})
	return err
}

func (r *Run) sendReportsTo(ctx context.Context, service multiratev1.LearningRateServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := service.ReportStatistics(ctx)
	if err != nil {
		return err
	}
	for _, report := range r.upcoming.reports {
		if err := stream.Send(report); errors.Is(err, io.EOF) {
			break // CloseAndRecv has the status.
		} else if err != nil {
			return err
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}
