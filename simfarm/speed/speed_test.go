package speed_test

import (
	"testing"

	"github.com/farmspec/farmspec/simfarm/speed"
)

// Benchmark is the standard set as go test has it, with the CPU of each
// operation beside its time.
func Benchmark(b *testing.B) {
	for _, c := range speed.Standard() {
		b.Run(c.Name, func(b *testing.B) {
			w, err := c.Open(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if w.Close == nil {
					return
				}
				if err := w.Close(); err != nil {
					b.Error(err)
				}
			}()
			b.ReportAllocs()
			cpu := speed.ProcessCPU()
			b.ResetTimer()
			if err := w.Do(b.N); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(speed.ProcessCPU()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}
