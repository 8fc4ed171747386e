package store

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestMemoryIsASortedMap checks the store against a plain map.
func TestMemoryIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, limit := context.Background(), rapid.IntRange(0, 6).Draw(t, "limit")
		m, model := &Memory[int]{Limit: limit}, map[string]int{}
		id := rapid.SampledFrom([]string{"a", "aa", "b", "B", "c", "d", "e", "f"})
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				k, v := id.Draw(t, "id"), rapid.Int().Draw(t, "run")
				_, exists := model[k]
				want := error(nil)
				switch {
				case exists:
					want = ErrExists
				case limit > 0 && len(model) >= limit:
					want = ErrFull
				default:
					model[k] = v
				}
				if err := m.Create(ctx, k, v); !errors.Is(err, want) {
					t.Fatalf("Create(%q) = %v, want %v", k, err, want)
				}
			},
			"get": func(t *rapid.T) {
				k := id.Draw(t, "id")
				v, err := m.Get(ctx, k)
				want, exists := model[k]
				if v != want || exists != (err == nil) {
					t.Fatalf("Get(%q) = %v, %v, want %v", k, v, err, want)
				}
			},
			"delete": func(t *rapid.T) {
				k := id.Draw(t, "id")
				v, err := m.Delete(ctx, k)
				want, exists := model[k]
				delete(model, k)
				if v != want || exists != (err == nil) {
					t.Fatalf("Delete(%q) = %v, %v, want %v", k, v, err, want)
				}
			},
			"list": func(t *rapid.T) {
				after, limit := id.Draw(t, "after"), rapid.IntRange(0, 9).Draw(t, "limit")
				var keys []string
				for k := range model {
					if k > after {
						keys = append(keys, k)
					}
				}
				slices.Sort(keys)
				want := []int{}
				for _, k := range keys[:min(limit, len(keys))] {
					want = append(want, model[k])
				}
				if got, err := m.List(ctx, after, limit); err != nil || !slices.Equal(got, want) {
					t.Fatalf("List(%q, %d) = %v, %v, want %v", after, limit, got, err, want)
				}
			},
		})
	})
}
