package data

import "fmt"

//go:generate go run multirate/examples/data/internal/mnist -out mnist2000.gz

const (
	// MNISTImages is the number of digits carried.
	MNISTImages = 2000
	// MNISTSide is the width and the height of an image in pixels.
	MNISTSide = 28
)

// MNIST returns the first 2,000 training images of MNIST, MNISTSide*MNISTSide
// pixels each, row by row, 0 for background to 255, and their labels 0..9.
func MNIST() (images [][]byte, labels []byte) {
	const pixels = MNISTSide * MNISTSide
	all := content("mnist2000.gz")
	if len(all) != MNISTImages*(1+pixels) {
		panic(fmt.Sprintf("data: mnist2000.gz: %d bytes", len(all)))
	}
	labels, all = all[:MNISTImages], all[MNISTImages:]
	for i := range MNISTImages {
		images = append(images, all[i*pixels:(i+1)*pixels])
	}
	return images, labels
}
