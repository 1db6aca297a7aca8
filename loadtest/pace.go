package loadtest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/farmspec/farmspec"
)

// Pace says when arrivals are due.
type Pace struct {
	vegeta.Pacer
	// Text says it to a person: "constant 100/s".
	Text string
	// Peak is the most arrivals that it asks for within a second.
	Peak float64
}

// Constant paces rate arrivals per second.
func Constant(rate float64) (Pace, error) {
	if err := checkRate("rate", rate); err != nil {
		return Pace{}, err
	}
	return Pace{constant(rate), "constant " + perSecond(rate), rate}, nil
}

// maxRate is beyond what one process can send, by far.
const maxRate = 1e6

func checkRate(what string, rate float64) error {
	if !(rate >= 0.001 && rate <= maxRate) { // NaN too
		return fmt.Errorf("%s %v: want 0.001 to %.0f arrivals per second", what, rate, float64(maxRate))
	}
	return nil
}

// constant keeps three decimals of a rate, as vegeta's rates are whole numbers.
func constant(rate float64) vegeta.ConstantPacer {
	return vegeta.ConstantPacer{Freq: int(math.Round(rate * 1000)), Per: 1000 * time.Second}
}

func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) + "/s" }

// ParsePace reads a pacer as the command line has it, for a base rate per
// second over a duration (warm-up included):
//
//	constant         the base rate
//	ramp:TO          from the base rate to TO per second, evenly
//	sine:AMP/PERIOD  the base rate, AMP per second more and less, in waves of PERIOD
//	steps:ADD/EVERY  ADD per second more after each EVERY
//	burst:N/EVERY    the base rate and N arrivals at once after each EVERY
func ParsePace(text string, rate float64, over time.Duration) (Pace, error) {
	p, err := parsePace(text, rate, over)
	if err != nil {
		return Pace{}, fmt.Errorf("pacer %q: %w", text, err)
	}
	return p, nil
}

func parsePace(text string, rate float64, over time.Duration) (Pace, error) {
	if err := checkRate("rate", rate); err != nil {
		return Pace{}, err
	}
	kind, rest, _ := strings.Cut(text, ":")
	if kind == "constant" || kind == "ramp" {
		to := rate
		if kind == "ramp" {
			var err error
			if to, err = strconv.ParseFloat(rest, 64); err != nil {
				return Pace{}, fmt.Errorf("want ramp:TO, the last rate, such as ramp:500")
			}
			if err := checkRate("last rate", to); err != nil {
				return Pace{}, err
			}
		} else if rest != "" {
			return Pace{}, fmt.Errorf("constant takes no argument; --rate is its rate")
		}
		if to == rate {
			return Constant(rate)
		}
		p := vegeta.LinearPacer{StartAt: constant(rate), Slope: (to - rate) / over.Seconds()}
		return Pace{p, fmt.Sprintf("ramp %s to %s", perSecond(rate), perSecond(to)), max(rate, to)}, nil
	}
	known := []string{"constant", "ramp", "sine", "steps", "burst"}
	forms := map[string]string{"sine": "sine:AMP/PERIOD, such as sine:50/1m", "steps": "steps:ADD/EVERY, such as steps:100/30s", "burst": "burst:N/EVERY, such as burst:200/10s"}
	form, ok := forms[kind]
	if !ok {
		hint := ""
		if near := farmspec.Suggest(kind, known); near != "" {
			hint = fmt.Sprintf(" (did you mean %s?)", near)
		}
		return Pace{}, fmt.Errorf("want %s%s", strings.Join(known, ", "), hint)
	}
	number, duration, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseFloat(number, 64)
	every, err2 := time.ParseDuration(duration)
	if err != nil || err2 != nil || every < time.Millisecond {
		return Pace{}, fmt.Errorf("want %s", form)
	}
	if err := checkRate("number", n); err != nil {
		return Pace{}, err
	}
	switch kind {
	case "sine":
		if n >= rate {
			return Pace{}, fmt.Errorf("the amplitude %v must be below the rate %v", n, rate)
		}
		return Pace{vegeta.SinePacer{Period: every, Mean: constant(rate), Amp: constant(n)},
			fmt.Sprintf("sine %s ± %s each %v", perSecond(rate), perSecond(n), every), rate + n}, nil
	case "steps":
		return Pace{counted{
			count: func(t time.Duration) float64 {
				k := math.Floor(t.Seconds() / every.Seconds())
				e := every.Seconds()
				return rate*t.Seconds() + n*(e*k*(k-1)/2+k*(t.Seconds()-k*e))
			},
			rate: func(t time.Duration) float64 { return rate + n*float64(t/every) },
		}, fmt.Sprintf("steps %s and %s more each %v", perSecond(rate), perSecond(n), every), rate + n*float64(over/every)}, nil
	}
	if n != math.Trunc(n) {
		return Pace{}, fmt.Errorf("a burst is a whole number of arrivals")
	}
	return Pace{counted{
		count: func(t time.Duration) float64 { return math.Floor(rate*t.Seconds()) + n*float64(t/every) },
		rate:  func(time.Duration) float64 { return rate + n/every.Seconds() },
	}, fmt.Sprintf("burst %s and %v at once each %v", perSecond(rate), n, every), rate + n*math.Ceil(float64(time.Second)/float64(every))}, nil
}

// counted paces by the number of arrivals due by an instant, which must not
// fall and must grow without bound.
type counted struct {
	count func(time.Duration) float64
	rate  func(time.Duration) float64
}

// Rate implements vegeta.Pacer.
func (c counted) Rate(t time.Duration) float64 { return c.rate(t) }

// Pace implements vegeta.Pacer: it looks for the instant of the next arrival.
func (c counted) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	want := float64(hits + 1)
	if c.count(elapsed) >= want {
		return 0, false
	}
	low, high := elapsed, elapsed+time.Second
	for c.count(high) < want {
		if high > 1<<60 {
			return 0, true
		}
		high += high - elapsed
	}
	for high-low > 1 {
		if mid := low + (high-low)/2; c.count(mid) >= want {
			high = mid
		} else {
			low = mid
		}
	}
	return high - elapsed, false
}

// Arrival is one page view to make.
type Arrival struct {
	// N numbers the arrivals of the whole plan, all shards together.
	N uint64
	// Due is when it is to begin, from the start of the schedule.
	Due time.Duration
}

// schedule works out when arrivals are due, whatever the machine is up to:
// the pacer is asked as if it had never been late. A shard has every n-th.
type schedule struct {
	pacer vegeta.Pacer
	end   time.Duration
	shard Shard

	mu   sync.Mutex
	at   time.Duration
	n    uint64
	over bool
}

// next returns the next arrival of this shard; false when there is none.
func (s *schedule) next() (Arrival, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.over {
		wait, stop := s.pacer.Pace(s.at, s.n)
		s.at += max(wait, 0)
		if stop || s.at >= s.end {
			s.over = true
			break
		}
		a := Arrival{N: s.n, Due: s.at}
		s.n++
		if s.shard.has(a.N) {
			return a, true
		}
	}
	return Arrival{}, false
}

// Shard is one part of a load that several processes make without speaking to
// each other. The zero Shard is the whole.
type Shard struct {
	// Index counts from 1 to Of.
	Index, Of int
}

// ParseShard reads "i/n"; "" is the whole.
func ParseShard(s string) (Shard, error) {
	if s == "" {
		return Shard{}, nil
	}
	i, n, ok := strings.Cut(s, "/")
	index, err := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	if !ok || err != nil || err2 != nil || index < 1 || of < index || of > 10_000 {
		return Shard{}, fmt.Errorf("shard %q: want i/n with i from 1 to n, such as 2/4", s)
	}
	return Shard{index, of}, nil
}

func (s Shard) has(n uint64) bool { return s.Of < 2 || n%uint64(s.Of) == uint64(s.Index-1) }

// share is how many of n numbers from 0 on the shard has.
func (s Shard) share(n int) int {
	if s.Of < 2 {
		return n
	}
	return (n + s.Of - s.Index) / s.Of
}
