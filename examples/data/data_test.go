package data

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestReadmeNamesEveryFileWithItsChecksum(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(files, "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("embedded files %v, error %v", names, err)
	}
	for _, name := range names {
		raw, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("| `%s` | `%x` |\n", name, sha256.Sum256(raw)); !strings.Contains(string(readme), line) {
			t.Errorf("README.md lacks %s", line)
		}
	}
}

func TestTablesAreAsPublished(t *testing.T) {
	for _, c := range []struct {
		name          string
		table         Table
		rows, columns int
		// first starts the first row and ends it with the target.
		first  []float64
		target float64
		// counts has the rows per class; nil where the target is a measurement.
		counts []int
	}{
		{"breast cancer", BreastCancer(), 569, 30, []float64{17.99, 10.38, 122.8, 1001}, 0, []int{212, 357}},
		{"wine", Wine(), 178, 13, []float64{14.23, 1.71, 2.43, 15.6}, 0, []int{59, 71, 48}},
		{"digits", Digits(), 1797, 64, []float64{0, 0, 5, 13}, 0, []int{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}},
		{"diabetes", Diabetes(), 442, 10, []float64{59, 2, 32.1, 101}, 151, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.table
			if got.Rows != c.rows || got.Columns != c.columns {
				t.Errorf("%d rows and %d columns, want %d and %d", got.Rows, got.Columns, c.rows, c.columns)
			}
			if len(got.Features) != c.rows*c.columns || len(got.Target) != c.rows {
				t.Fatalf("%d features and %d targets", len(got.Features), len(got.Target))
			}
			if !slices.Equal(got.Features[:4], c.first) || got.Target[0] != c.target {
				t.Errorf("first row %v .. %v, want %v .. %v", got.Features[:4], got.Target[0], c.first, c.target)
			}
			if c.counts == nil {
				return
			}
			counts := make([]int, len(c.counts))
			for _, y := range got.Target {
				counts[int(y)]++
			}
			if !slices.Equal(counts, c.counts) {
				t.Errorf("rows per class %v, want %v", counts, c.counts)
			}
		})
	}
}

func TestDiabetesTargetIsInItsPublishedRange(t *testing.T) {
	target := Diabetes().Target
	if low, high := slices.Min(target), slices.Max(target); low != 25 || high != 346 {
		t.Errorf("target in %g..%g, want 25..346", low, high)
	}
}

func TestMNISTStartsWithTheWellKnownDigits(t *testing.T) {
	images, labels := MNIST()
	if len(images) != MNISTImages || len(labels) != MNISTImages {
		t.Fatalf("%d images and %d labels", len(images), len(labels))
	}
	if want := []byte{5, 0, 4, 1, 9, 2, 1, 3, 1, 4}; !slices.Equal(labels[:10], want) {
		t.Errorf("labels %v, want %v", labels[:10], want)
	}
	for i, image := range images {
		if len(image) != MNISTSide*MNISTSide || labels[i] > 9 {
			t.Fatalf("image %d has %d pixels and label %d", i, len(image), labels[i])
		}
	}
	// The first five is drawn from row 5 on, and its border is empty.
	if first := images[0]; slices.Max(first[:5*MNISTSide]) != 0 || slices.Max(first[5*MNISTSide:6*MNISTSide]) != 255 {
		t.Error("the first image does not start in row 5")
	}
}
