package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func opened(t *testing.T, options Options) *Journal {
	t.Helper()
	options.Logger, options.ReserveBytes = slog.New(slog.NewTextHandler(io.Discard, nil)), 1
	j, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closed(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func appended(t *testing.T, j *Journal, run string, after uint64, text string) uint64 {
	t.Helper()
	sequence, err := j.Append(t.Context(), run, after, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

func events(t *testing.T, j *Journal, run string, behind uint64) (texts []string) {
	t.Helper()
	err := j.Events(t.Context(), run, behind, func(e Event) error {
		texts = append(texts, string(e.Data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func TestHistoriesOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	j := opened(t, Options{Dir: dir})
	names := []string{"a/.", "a/..", "a/b.c", "a/b_c", "a/r", "b/r"}
	first := map[string]uint64{}
	for _, name := range names {
		first[name] = appended(t, j, name, 0, name+" 1")
	}
	for _, name := range names {
		appended(t, j, name, first[name], name+" 2")
	}
	if _, err := j.Save(t.Context(), "a/r", Snapshot{State: []byte("state"), Index: 1, Sequence: first["a/r"]}); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	j = opened(t, Options{Dir: dir})
	defer closed(t, j)
	if got, err := j.Runs(t.Context()); err != nil || !slices.Equal(got, names) {
		t.Errorf("runs %q, %v, want %q", got, err, names)
	}
	for _, name := range names {
		if got, want := events(t, j, name, 0), []string{name + " 1", name + " 2"}; !slices.Equal(got, want) {
			t.Errorf("events of %s are %q, want %q", name, got, want)
		}
		if latest, err := j.Latest(t.Context(), name); err != nil || string(latest.Data) != name+" 2" {
			t.Errorf("latest of %s is %q, %v", name, latest.Data, err)
		}
	}
	s, err := j.Snapshot(t.Context(), "a/r")
	if err != nil || string(s.State) != "state" || s.Index != 1 {
		t.Fatalf("snapshot %+v, %v", s, err)
	}
	if got := events(t, j, "a/r", s.Sequence); !slices.Equal(got, []string{"a/r 2"}) {
		t.Errorf("events behind the snapshot are %q", got)
	}
}

func TestAppendAndSaveCompareFirst(t *testing.T) {
	j := opened(t, Options{Dir: t.TempDir()})
	defer closed(t, j)
	first := appended(t, j, "r", 0, "1")
	appended(t, j, "other", 0, "1")
	second := appended(t, j, "r", first, "2")
	for _, after := range []uint64{0, first, second + 1} {
		if _, err := j.Append(t.Context(), "r", after, []byte("3")); !errors.Is(err, ErrConflict) {
			t.Errorf("append after %d: %v, want ErrConflict", after, err)
		}
	}
	one, err := j.Save(t.Context(), "r", Snapshot{State: []byte("1"), Index: 1, Sequence: first})
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []uint64{0, one + 1} {
		if _, err := j.Save(t.Context(), "r", Snapshot{State: []byte("2"), Revision: revision}); !errors.Is(err, ErrConflict) {
			t.Errorf("save over revision %d: %v, want ErrConflict", revision, err)
		}
	}
	if _, err := j.Save(t.Context(), "r", Snapshot{State: []byte("2"), Index: 2, Sequence: second, Revision: one}); err != nil {
		t.Error(err)
	}
}

func TestRemovedRunsAreGone(t *testing.T) {
	dir := t.TempDir()
	j := opened(t, Options{Dir: dir})
	first := appended(t, j, "r", 0, "1")
	appended(t, j, "other", 0, "1")
	if _, err := j.Save(t.Context(), "r", Snapshot{State: []byte("1"), Index: 1, Sequence: first}); err != nil {
		t.Fatal(err)
	}
	if err := j.Remove(t.Context(), "r", 7, []byte("end")); !errors.Is(err, ErrConflict) {
		t.Errorf("removed though its history has gone on: %v", err)
	}
	for range 2 { // the second completes what the first has done
		if err := j.Remove(t.Context(), "r", first, nil); err != nil {
			t.Fatal(err)
		}
	}
	appended(t, j, "r", 0, "another run")
	if s, err := j.Snapshot(t.Context(), "r"); err != nil || s.State != nil {
		t.Errorf("its snapshot is still there: %+v, %v", s, err)
	}
	closed(t, j)
	j = opened(t, Options{Dir: dir})
	defer closed(t, j)
	if got := events(t, j, "r", 0); !slices.Equal(got, []string{"another run"}) {
		t.Errorf("events %q", got)
	}
}

func TestOldEventsGo(t *testing.T) {
	j := opened(t, Options{Dir: t.TempDir(), KeepEvents: 1})
	defer closed(t, j)
	last := uint64(0)
	for i := range LeastKept + 10 {
		last = appended(t, j, "r", last, fmt.Sprint(i))
	}
	got := events(t, j, "r", 0)
	if len(got) != LeastKept || got[0] != "10" || got[LeastKept-1] != fmt.Sprint(LeastKept+9) {
		t.Errorf("%d events, %s to %s", len(got), got[0], got[len(got)-1])
	}
}

func TestFoldersRefused(t *testing.T) {
	dir := t.TempDir()
	j := opened(t, Options{Dir: dir})
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	closed(t, j)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", file, filepath.Join(file, "below")} {
		if _, err := Open(context.Background(), Options{Dir: path}); err == nil {
			t.Errorf("opened %q", path)
		}
	}
}

func TestDiskAlmostFull(t *testing.T) {
	options := Options{Dir: t.TempDir()}
	j := opened(t, options)
	first := appended(t, j, "r", 0, "1")
	closed(t, j)
	options.ReserveBytes, options.Logger = 1<<60, slog.New(slog.DiscardHandler)
	j, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, j)
	if err := j.Writable(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("writable: %v", err)
	}
	if _, err := j.Append(t.Context(), "r", first, []byte("2")); !errors.Is(err, ErrDiskFull) {
		t.Errorf("append: %v", err)
	}
	if err := j.Remove(t.Context(), "r", first, []byte("end")); err != nil {
		t.Errorf("a run can't make room: %v", err)
	}
}
