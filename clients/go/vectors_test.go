package multirate

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write proto/testdata/sketch.json anew")

const vectorsPath = "../../proto/testdata/sketch.json"

// sketchVectors is proto/testdata/sketch.json. 64-bit numbers are hexadecimal
// strings, since JSON readers may round numbers above 2^53; all others stay
// below 2^41.
type sketchVectors struct {
	Words    []wordVector   `json:"words"`
	Signs    []signVector   `json:"signs"`
	Buckets  []bucketVector `json:"buckets"`
	Sketches []sketchVector `json:"sketches"`
}

// wordVector says that word(k) of the seed is Word.
type wordVector struct {
	Seed string `json:"seed"`
	K    uint64 `json:"k"`
	Word string `json:"word"`
}

// signVector gives the signs from an index on as a string of + and -.
type signVector struct {
	Seed   string `json:"seed"`
	Offset int64  `json:"offset"`
	Signs  string `json:"signs"`
}

// bucketVector gives the buckets of indices.
type bucketVector struct {
	Dimension int     `json:"sketch_dimension"`
	Indices   []int64 `json:"indices"`
	Buckets   []int64 `json:"buckets"`
}

// sketchVector gives the sketch of g[i] = (37 i mod 101) - 50, i in the shards,
// and 0 elsewhere.
type sketchVector struct {
	Dimension       int64     `json:"dimension"`
	SketchDimension int       `json:"sketch_dimension"`
	Seed            string    `json:"seed"`
	Shards          []shard   `json:"shards"`
	Values          []float32 `json:"values"`
}

type shard struct {
	Offset int64 `json:"offset"`
	Count  int64 `json:"count"`
}

func (s shard) gradient() []float64 {
	g := make([]float64, s.Count)
	for j := range g {
		g[j] = float64((s.Offset+int64(j))*37%101 - 50)
	}
	return g
}

func hex(v uint64) string { return fmt.Sprintf("0x%016x", v) }

func parseHex(t *testing.T, s string) (v uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "0x%x", &v); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return v
}

// The questions of which sketch.json holds the answers.
var (
	vectorSeeds = []uint64{0, 1, 0x0123456789abcdef, 0xffffffffffffffff}
	// The last one is the word of index 2^40 - 1.
	vectorWords   = []uint64{0, 1, 2, 63, 1 << 26, 1<<34 - 1}
	vectorOffsets = []int64{0, 37, 1<<32 - 50, 1<<40 - 100}
	vectorIndices = []int64{0, 1, 14, 15, 250, 251, 252, 4095, 1<<32 - 1, 1 << 32, 1<<40 - 1}
	vectorCases   = []sketchVector{
		{Dimension: 1, SketchDimension: 15, Shards: []shard{{0, 1}}},
		{Dimension: 10, SketchDimension: 251, Seed: hex(1), Shards: []shard{{0, 10}}},
		{Dimension: 64, SketchDimension: 15, Seed: hex(2), Shards: []shard{{0, 64}}},
		{Dimension: 1000, SketchDimension: 15, Seed: hex(3), Shards: []shard{{0, 1000}}},
		{Dimension: 1000, SketchDimension: 251, Seed: hex(0xffffffffffffffff), Shards: []shard{{0, 1000}}},
		{Dimension: 5000, SketchDimension: 251, Seed: hex(4), Shards: []shard{{0, 777}, {777, 1}, {778, 4222}}},
		{Dimension: 5000, SketchDimension: 509, Seed: hex(5), Shards: []shard{{1999, 1002}}},
		{Dimension: 4000, SketchDimension: 4095, Seed: hex(6), Shards: []shard{{3900, 100}}},
		{
			Dimension: 1 << 40, SketchDimension: 251, Seed: hex(0x0123456789abcdef),
			Shards: []shard{{1<<32 - 100, 300}, {1<<33 + 7, 200}, {1<<40 - 130, 130}},
		},
	}
)

// naiveVectors answers them by the contract read aloud.
func naiveVectors(t *testing.T) sketchVectors {
	var v sketchVectors
	for _, seed := range vectorSeeds {
		for _, k := range vectorWords {
			v.Words = append(v.Words, wordVector{hex(seed), k, hex(naiveMix(seed + (k+1)*0x9E3779B97F4A7C15))})
		}
		for _, offset := range vectorOffsets {
			v.Signs = append(v.Signs, signVector{hex(seed), offset, naiveSigns(seed, offset, 100)})
		}
	}
	for _, d := range []int64{15, 251, 4095} {
		b := bucketVector{Dimension: int(d), Indices: vectorIndices}
		for _, i := range vectorIndices {
			b.Buckets = append(b.Buckets, i%d)
		}
		v.Buckets = append(v.Buckets, b)
	}
	for _, c := range vectorCases {
		if c.Seed == "" {
			c.Seed = hex(0)
		}
		sums := make([]float64, c.SketchDimension)
		for _, s := range c.Shards {
			for j, g := range s.gradient() {
				i := s.Offset + int64(j)
				if naiveSigns(parseHex(t, c.Seed), i, 1) == "-" {
					g = -g
				}
				sums[i%int64(c.SketchDimension)] += g
			}
		}
		for _, s := range sums {
			c.Values = append(c.Values, float32(s))
		}
		v.Sketches = append(v.Sketches, c)
	}
	return v
}

func naiveSigns(seed uint64, offset, count int64) string {
	var b strings.Builder
	for i := uint64(offset); i < uint64(offset+count); i++ {
		word := naiveMix(seed + (i/64+1)*0x9E3779B97F4A7C15)
		b.WriteByte("+-"[word>>(i%64)&1])
	}
	return b.String()
}

// encode writes one vector a line, for readable differences.
func (v sketchVectors) encode(t *testing.T) []byte {
	var b bytes.Buffer
	list := func(name string, n int, at func(int) any) {
		fmt.Fprintf(&b, "  %q: [", name)
		for i := range n {
			line, err := json.Marshal(at(i))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s\n    %s", map[bool]string{true: ",", false: ""}[i > 0], line)
		}
		b.WriteString("\n  ]")
	}
	b.WriteString("{\n")
	list("words", len(v.Words), func(i int) any { return v.Words[i] })
	b.WriteString(",\n")
	list("signs", len(v.Signs), func(i int) any { return v.Signs[i] })
	b.WriteString(",\n")
	list("buckets", len(v.Buckets), func(i int) any { return v.Buckets[i] })
	b.WriteString(",\n")
	list("sketches", len(v.Sketches), func(i int) any { return v.Sketches[i] })
	b.WriteString("\n}\n")
	return b.Bytes()
}

func TestVectorsAreTheContract(t *testing.T) {
	want := naiveVectors(t).encode(t)
	if *update {
		if err := os.WriteFile(vectorsPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the contract says; go test -update writes it anew", vectorsPath)
	}
}

func TestSketcherReproducesTheVectors(t *testing.T) {
	data, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	var v sketchVectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	for _, w := range v.Words {
		if got := signWord(parseHex(t, w.Seed), w.K); hex(got) != w.Word {
			t.Errorf("word(%d) of seed %s = %#x, want %s", w.K, w.Seed, got, w.Word)
		}
	}
	for _, c := range v.Signs {
		if got := sketchedSigns(t, c); got != c.Signs {
			t.Errorf("signs of seed %s from %d:\n%s, want\n%s", c.Seed, c.Offset, got, c.Signs)
		}
	}
	for _, c := range v.Buckets {
		s := mustSketcher(t, 1<<40, c.Dimension, 0)
		for k, i := range c.Indices {
			sums := make([]float64, c.Dimension)
			Accumulate(s, sums, []float64{1}, i)
			if sums[c.Buckets[k]] == 0 {
				t.Errorf("index %d is not in bucket %d of %d", i, c.Buckets[k], c.Dimension)
			}
		}
	}
	for _, c := range v.Sketches {
		s := mustSketcher(t, c.Dimension, c.SketchDimension, parseHex(t, c.Seed))
		sums, values := make([]float64, s.Buckets()), make([]float32, s.Buckets())
		for _, shard := range c.Shards {
			Accumulate(s, sums, shard.gradient(), shard.Offset)
		}
		if Round(values, sums); !slices.Equal(values, c.Values) {
			t.Errorf("D %d, d %d, seed %s: got %v, want %v", c.Dimension, c.SketchDimension, c.Seed, values, c.Values)
		}
	}
}

// sketchedSigns reads the signs off a sketch with a bucket for each element.
func sketchedSigns(t *testing.T, c signVector) string {
	const d = 101
	s := mustSketcher(t, 1<<40, d, parseHex(t, c.Seed))
	sums, ones := make([]float64, d), slices.Repeat([]float64{1}, len(c.Signs))
	Accumulate(s, sums, ones, c.Offset)
	signs := make([]byte, len(c.Signs))
	for j := range signs {
		signs[j] = '+'
		if sums[(c.Offset+int64(j))%d] < 0 {
			signs[j] = '-'
		}
	}
	return string(signs)
}
