//go:build !race

package loadtest

import "testing"

// Beside the network a page view takes memory for its token, its record and its
// place in the history, and nothing that has to be collected but the token.
func TestViewAllocates(t *testing.T) {
	view, n := viewer(t), uint64(0)
	once := func() { view(n); n++ }
	for range 2000 {
		once()
	}
	if got := testing.AllocsPerRun(3000, once); got > 1 {
		t.Errorf("a page view allocates %v times, want once", got)
	}
}

// What a page view costs beside the network.
func BenchmarkView(b *testing.B) {
	view := viewer(b)
	b.ReportAllocs()
	n, before := uint64(0), cpuTime()
	for b.Loop() {
		view(n)
		n++
	}
	b.ReportMetric(float64(cpuTime()-before)/float64(n), "cpu-ns/op")
}
