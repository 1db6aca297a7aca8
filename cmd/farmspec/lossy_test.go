package main

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/features"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/targetfile"
)

// lossy loses about one answer in n: it hangs up, having done what was asked
// or not, or stops in the middle of the answer.
func lossy(seed uint64, n uint32, lost *atomic.Int64, next http.Handler) http.Handler {
	random := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		hit, how := random.Uint32N(n) == 0, random.Uint32N(3)
		mu.Unlock()
		if !hit {
			next.ServeHTTP(w, r)
			return
		}
		lost.Add(1)
		if how == 0 { // the request was lost
			panic(http.ErrAbortHandler)
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if how == 1 { // the answer was lost
			panic(http.ErrAbortHandler)
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Length", "100000")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		panic(http.ErrAbortHandler)
	})
}

// Who loses answers is not accused: no scenario fails on a sound farm whose
// answers get lost at random.
func TestLostAnswersAccuseNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("judges several farms")
	}
	// What the shop fails without any loss it may fail here too.
	sound, err := targetfile.Load(openShop(t, nil).file(t))
	if err != nil {
		t.Fatal(err)
	}
	report, err := features.Judge(t.Context(), features.Options{Seed: 1, Sparse: true}, sound)
	if err != nil {
		t.Fatal(err)
	}
	fails := map[string]bool{}
	for _, r := range report.Results {
		fails[r.Scenario] = r.Verdict == farmspec.Fail || r.Verdict == farmspec.Warn
	}
	judged := func(t *testing.T, lost *atomic.Int64, target *farmspec.Target) {
		report, err := features.Judge(t.Context(), features.Options{Seed: 1, Sparse: true, Timeout: 10 * time.Second}, target)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[farmspec.Verdict]int{}
		for _, r := range report.Results {
			counts[r.Verdict]++
			if fixed := target.Rotation == farmspec.NoRotation; fixed && fails[r.Scenario] {
				continue
			}
			if r.Verdict == farmspec.Fail || r.Verdict == farmspec.Warn || r.Verdict == farmspec.Flaky {
				t.Errorf("%s is %s: %s", r.Scenario, r.Verdict, r.Reason)
			}
		}
		t.Logf("%d answers lost: %v", lost.Load(), counts)
		if lost.Load() == 0 || counts[farmspec.Inconclusive]+counts[farmspec.Error] == 0 {
			t.Error("nothing was lost, so this shows nothing")
		}
	}
	for seed := range uint64(3) {
		t.Run("a fixed cookie", func(t *testing.T) {
			var lost atomic.Int64
			s := openShop(t, func(s *shop) {
				s.front = func(n int, next http.Handler) http.Handler { return lossy(2*seed+uint64(n), 40, &lost, next) }
			})
			target, err := targetfile.Load(s.file(t))
			if err != nil {
				t.Fatal(err)
			}
			judged(t, &lost, target)
		})
		t.Run("the reference", func(t *testing.T) {
			var lost atomic.Int64
			farm, err := simfarm.Open(t.Context(), simfarm.Options{Wrap: simfarm.Wrap{Handler: func(process string, h http.Handler) http.Handler {
				if process == farmspec.ServiceProcess {
					return h
				}
				return lossy(seed, 60, &lost, h)
			}}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = farm.Close() }()
			judged(t, &lost, farm.Target())
		})
	}
}
