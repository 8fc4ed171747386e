// Package data carries the public data sets that the examples train on, so that
// they need neither a download nor a path. README.md names source, licence and
// checksum of each file.
package data

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
)

//go:embed *.csv *.gz
var files embed.FS

// Table is a numeric data set as it was published: nothing scaled, nothing
// left out, no intercept.
type Table struct {
	// Rows and Columns count samples and features.
	Rows, Columns int
	// Features holds Rows x Columns numbers, row by row.
	Features []float64
	// Target holds one number per row.
	Target []float64
}

// BreastCancer is Breast Cancer Wisconsin (Diagnostic): 569 rows, 30 features
// of cell nuclei; target 1 for benign, 0 for malignant.
func BreastCancer() Table { return lastIsTarget(records("breast_cancer.csv.gz", ',')[1:]) }

// Wine is the UCI wine recognition set: 178 rows, 13 chemical features; target
// is the cultivar 0, 1 or 2.
func Wine() Table { return lastIsTarget(records("wine_data.csv", ',')[1:]) }

// Digits is the test part of the UCI optical recognition of handwritten digits:
// 1,797 rows, 64 features, 8x8 counts in 0..16; target is the digit 0..9.
func Digits() Table { return lastIsTarget(records("digits.csv.gz", ',')) }

// Diabetes is the study of Efron, Hastie, Johnstone and Tibshirani (2004): 442
// rows, 10 unscaled features (age, sex, body mass index, blood pressure, six
// serum values); target is disease progression after a year, 25..346.
func Diabetes() Table {
	features := records("diabetes_data_raw.csv.gz", ' ')
	target := records("diabetes_target.csv.gz", ' ')
	t := Table{Rows: len(features), Columns: len(features[0])}
	for i, row := range features {
		t.Features = append(t.Features, row...)
		t.Target = append(t.Target, target[i][0])
	}
	return t
}

// lastIsTarget splits the last column off.
func lastIsTarget(rows [][]float64) Table {
	t := Table{Rows: len(rows), Columns: len(rows[0]) - 1}
	for _, row := range rows {
		t.Features = append(t.Features, row[:t.Columns]...)
		t.Target = append(t.Target, row[t.Columns])
	}
	return t
}

// records parses an embedded file. Words become 0: only header lines, which the
// callers drop, have them. It panics on a damaged file: a fault of the build.
func records(name string, comma rune) [][]float64 {
	reader := csv.NewReader(bytes.NewReader(content(name)))
	reader.Comma, reader.FieldsPerRecord = comma, -1
	lines, err := reader.ReadAll()
	if err != nil {
		panic(fmt.Sprintf("data: %s: %v", name, err))
	}
	rows := make([][]float64, len(lines))
	for i, line := range lines {
		rows[i] = make([]float64, len(line))
		for j, field := range line {
			value, err := strconv.ParseFloat(field, 64)
			if err != nil && i > 0 {
				panic(fmt.Sprintf("data: %s: row %d: %v", name, i, err))
			}
			rows[i][j] = value
		}
	}
	return rows
}

// content is an embedded file, unpacked.
func content(name string) []byte {
	raw, err := files.ReadFile(name)
	if err == nil && strings.HasSuffix(name, ".gz") {
		var unpacked *gzip.Reader
		if unpacked, err = gzip.NewReader(bytes.NewReader(raw)); err == nil {
			raw, err = io.ReadAll(unpacked)
		}
	}
	if err != nil {
		panic(fmt.Sprintf("data: %s: %v", name, err))
	}
	return raw
}
