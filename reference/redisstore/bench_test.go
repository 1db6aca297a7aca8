package redisstore_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/farmspec/farmspec/reference"
)

// BenchmarkReplace is the hot call, beside the least script that compares and
// swaps a string by the same client. Both processes' CPU is reported besides
// the time, which on a busy machine is mostly others'.
func BenchmarkReplace(b *testing.B) {
	for _, setup := range []struct{ name, query string }{{"one part", ""}, {"a connection each", "?pool_size=256"}, {"seven parts", "?parts=7"}, {"least script", ""}} {
		for _, callers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%s/%d callers", setup.name, callers), func(b *testing.B) {
				_, address := startNative(b, nil)
				s, raw := mustOpen(b, address+setup.query), connect(b, address)
				call := func(caller int) func(i int) error {
					sess := created(b, s, byte(caller))
					return func(i int) error {
						next := reference.Token{ID: numbered(byte(caller), i), Timestamp: 2000}
						next.ID[9] = 1
						err := s.Replace(b.Context(), sess.Current, next)
						sess.Current = next
						return err
					}
				}
				if setup.name == "least script" {
					least := redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0`)
					call = func(caller int) func(i int) error {
						key := fmt.Sprint("least-", caller)
						if err := raw.Set(b.Context(), key, "0", 0).Err(); err != nil {
							b.Fatal(err)
						}
						return func(i int) error {
							return least.Run(b.Context(), raw, []string{key}, i, i+1).Err()
						}
					}
				}
				calls := make([]func(int) error, callers)
				for i := range calls {
					calls[i] = call(i)
				}
				server, client := serverCPU(b, raw), ownCPU()
				var next atomic.Int64
				var done sync.WaitGroup
				b.ResetTimer()
				for _, call := range calls {
					done.Go(func() {
						for i := 0; next.Add(1) <= int64(b.N); i++ {
							if err := call(i); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				done.Wait()
				b.StopTimer()
				b.ReportMetric(float64((serverCPU(b, raw)-server).Microseconds())/float64(b.N), "server-µs/op")
				b.ReportMetric(float64((ownCPU()-client).Microseconds())/float64(b.N), "client-µs/op")
			})
		}
	}
}

func serverCPU(b *testing.B, c *redis.Client) time.Duration {
	b.Helper()
	cpu := c.InfoMap(b.Context(), "cpu").Val()["CPU"]
	user, err1 := strconv.ParseFloat(cpu["used_cpu_user"], 64)
	sys, err2 := strconv.ParseFloat(cpu["used_cpu_sys"], 64)
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration((user + sys) * float64(time.Second))
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
