package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "multirate/proto/multirate/v1"
)

// TestCreateRunFillsDefaultsIn: what is absent is answered with its value.
func TestCreateRunFillsDefaultsIn(t *testing.T) {
	c := start(t, Options{Now: func() time.Time { return time.Unix(7, 0) }})
	got := create(t, c, &pb.Run{RunId: "r", Dimension: 3})
	if s := got.CreateTime.AsTime(); !s.Equal(time.Unix(7, 0)) {
		t.Errorf("created at %v", s)
	}
	got.CreateTime = nil
	sameMessage(t, "run", got, &pb.Run{
		RunId:         "r",
		Dimension:     3,
		GroupMode:     pb.GroupMode_GROUP_MODE_SHARED,
		Policy:        pb.Policy_POLICY_ADAPTIVE,
		UpdateRule:    pb.UpdateRule_UPDATE_RULE_GRADIENT_DESCENT,
		BatchKind:     pb.BatchKind_BATCH_KIND_FULL,
		Sketch:        &pb.SketchSpec{Dimension: 251},
		MaxLossGrowth: proto.Float64(2),
		Window:        proto.Int32(32),
	})
}

// TestCreateRunIsIdempotent: the same declaration, defaults spelt out or not,
// is the same run.
func TestCreateRunIsIdempotent(t *testing.T) {
	c := start(t, Options{})
	first := create(t, c, &pb.Run{RunId: "r", Dimension: 15, Labels: map[string]string{"a": "b"}})
	newTrainer("r", threeScales(), 0).train(t, c, 2)
	again := create(t, c, &pb.Run{RunId: "r", Dimension: 15, Labels: map[string]string{"a": "b"}, Window: proto.Int32(32)})
	if again.GetLatestStep() != 1 || !again.CreateTime.AsTime().Equal(first.CreateTime.AsTime()) {
		t.Errorf("created anew: %v", again)
	}
}

// TestCreateRunDrawsIDs: without an id each run is another one.
func TestCreateRunDrawsIDs(t *testing.T) {
	c := start(t, Options{})
	a, b := create(t, c, &pb.Run{Dimension: 1}), create(t, c, &pb.Run{Dimension: 1})
	if !validRunID(a.RunId) || !validRunID(b.RunId) || a.RunId == b.RunId {
		t.Errorf("drew %q and %q", a.RunId, b.RunId)
	}
}

// TestLifeOfARun: declared, trained, looked at, deleted, gone.
func TestLifeOfARun(t *testing.T) {
	c, ctx := start(t, Options{}), t.Context()
	create(t, c, &pb.Run{RunId: "r", Dimension: 15, Sketch: &pb.SketchSpec{Dimension: 15},
		ParamGroups: []*pb.ParamGroup{{Name: "w", Size: 10}, {Name: "b", Size: 5}}})
	tr := newTrainer("r", threeScales(), 15)
	tr.step = 40 // a run's first step may have any number
	for i, answer := range tr.train(t, c, 60) {
		if answer.Step != 40+int64(i) || len(answer.Rates) != 2 ||
			answer.Rates[0].ParamGroup != "w" || answer.Rates[1].ParamGroup != "b" ||
			answer.Rates[0].LearningRate != answer.Rates[1].LearningRate {
			t.Fatalf("answer %d: %v", i, answer)
		}
		e := answer.Explanation
		if e.Reason == pb.Reason_REASON_UNSPECIFIED || e.Guard == pb.Guard_GUARD_UNSPECIFIED || !strings.HasSuffix(e.Text, ".") {
			t.Fatalf("step %d is not explained: %v", answer.Step, e)
		}
	}
	run, err := c.GetRun(ctx, &pb.GetRunRequest{RunId: "r"})
	if err != nil || run.Run.GetLatestStep() != 99 {
		t.Fatalf("GetRun = %v, %v", run, err)
	}
	spectrum, err := c.GetSpectrum(ctx, &pb.GetSpectrumRequest{RunId: "r", DensityPoints: 10})
	if err != nil {
		t.Fatal(err)
	}
	s := spectrum.Spectrum
	if s.Source != pb.SpectrumSource_SPECTRUM_SOURCE_SKETCH || len(s.RitzValues) == 0 || s.Trace != nil || s.Density != nil {
		t.Errorf("spectrum %v", s)
	}
	if _, err := c.DeleteRun(ctx, &pb.DeleteRunRequest{RunId: "r"}); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetLearningRate(ctx, tr.request())
	wantRefusal(t, err, refusal{codes.NotFound, ReasonRunNotFound, ""})
}

// TestListRunsPages: pages hold each run once, in order, whatever their size,
// and may be filtered by labels.
func TestListRunsPages(t *testing.T) {
	c := start(t, Options{})
	var ids, even []string
	for i := range 25 {
		id := fmt.Sprintf("run%02d", i)
		ids = append(ids, id)
		if i%2 == 0 {
			even = append(even, id)
		}
		create(t, c, &pb.Run{RunId: id, Dimension: 1, Labels: map[string]string{"odd": fmt.Sprint(i % 2), "all": ""}})
	}
	for _, tt := range []struct {
		size   int32
		labels map[string]string
		want   []string
		pages  int
	}{
		{0, nil, ids, 1},
		{25, nil, ids, 1},
		{24, nil, ids, 2},
		{7, nil, ids, 4},
		{1, map[string]string{"odd": "0"}, even, 13},
		{7, map[string]string{"odd": "0", "all": ""}, even, 2},
		{7, map[string]string{"odd": "2"}, nil, 1},
	} {
		req, pages := &pb.ListRunsRequest{PageSize: tt.size, Labels: tt.labels}, 0
		var got []string
		for more := true; more; more = req.PageToken != "" {
			page, err := c.ListRuns(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Runs {
				got = append(got, r.RunId)
			}
			req.PageToken = page.NextPageToken
			pages++
		}
		if !slices.Equal(got, tt.want) || pages > tt.pages+1 {
			t.Errorf("size %d, labels %v: %v in %d pages, want %v in %d", tt.size, tt.labels, got, pages, tt.want, tt.pages)
		}
	}
}

// TestListRunsFitsClients: a page ends early rather than outgrow the 4 MiB that
// clients take by default.
func TestListRunsFitsClients(t *testing.T) {
	c := start(t, Options{})
	groups := make([]*pb.ParamGroup, 1024)
	for i := range groups {
		groups[i] = &pb.ParamGroup{Name: fmt.Sprintf("%0128d", i), Size: 1}
	}
	for i := range 40 { // of 140 kB each
		create(t, c, &pb.Run{RunId: fmt.Sprint(i), Dimension: 1024, ParamGroups: groups})
	}
	page, err := c.ListRuns(t.Context(), &pb.ListRunsRequest{})
	if err != nil || page.NextPageToken == "" || proto.Size(page) > 4<<20 {
		t.Errorf("a page of %d bytes, %v", proto.Size(page), err)
	}
}

// TestMaxRuns: a full server says how to make room.
func TestMaxRuns(t *testing.T) {
	c := start(t, Options{MaxRuns: 2})
	create(t, c, &pb.Run{RunId: "a", Dimension: 1})
	create(t, c, &pb.Run{RunId: "b", Dimension: 1})
	_, err := c.CreateRun(t.Context(), &pb.CreateRunRequest{Run: &pb.Run{RunId: "c", Dimension: 1}})
	wantRefusal(t, err, refusal{codes.ResourceExhausted, ReasonTooManyRuns, ""})
	create(t, c, &pb.Run{RunId: "a", Dimension: 1}) // a repetition needs no room
	if _, err := c.DeleteRun(t.Context(), &pb.DeleteRunRequest{RunId: "b"}); err != nil {
		t.Fatal(err)
	}
	create(t, c, &pb.Run{RunId: "c", Dimension: 1})
}
