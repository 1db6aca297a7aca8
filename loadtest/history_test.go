package loadtest

import (
	"testing"
	"time"

	"github.com/farmspec/farmspec/reference/model"
)

// chain is a session of n page views after its log-in, one after the other.
func chain(session uint32, n int) []op {
	at := func(i int) time.Duration { return time.Duration(i) * time.Millisecond }
	token := func(i int) mark { return mark(uint64(session)<<32 | uint64(i+1)) }
	ops := []op{{issued: token(0), call: at(0), ret: at(0) + 1, session: session, kind: opLogin}}
	for i := 1; i <= n; i++ {
		ops = append(ops, op{presented: token(i - 1), issued: token(i), call: at(i), ret: at(i) + 1, session: session, kind: opPresent})
	}
	return ops
}

func TestHistoryCheck(t *testing.T) {
	const long = 3*window + 17
	for _, tc := range []struct {
		name, want, why string
		ops             func() []op
	}{
		{"long and sound", "", "windows must not cut what belongs together", func() []op { return chain(1, long) }},
		{"many sound", "", "sessions are independent", func() (ops []op) {
			for s := range uint32(200) {
				ops = append(ops, chain(s+1, 150)...)
			}
			return ops
		}},
		{"replay refused", "", "a spent token refused is as it must be", func() []op {
			return append(chain(1, long), op{presented: 1<<32 | 4, call: time.Hour, ret: time.Hour, session: 1, kind: opPresent, outcome: opRefused})
		}},
		{"old replay accepted", model.I1, "it is thousands of operations after its use, in another window", func() []op {
			return append(chain(1, long), op{presented: 1<<32 | 4, call: time.Hour, ret: time.Hour, session: 1, kind: opPresent})
		}},
		{"accepted after close", model.I3, "the close is the last but one operation of a long session", func() []op {
			last := mark(1<<32 | (long + 1))
			return append(chain(1, long), op{presented: last, call: time.Hour, ret: time.Hour, session: 1, kind: opClose},
				op{presented: last, issued: 99, call: 2 * time.Hour, ret: 2 * time.Hour, session: 1, kind: opPresent})
		}},
		{"another session's token", model.I2, "two sessions were given one token", func() []op {
			a, b := chain(1, 5), chain(2, 5)
			b[3].issued, b[4].presented = a[2].issued, a[2].issued
			return append(a, b...)
		}},
		{"never issued", model.I5, "nobody was given that token", func() []op {
			return append(chain(1, 5), op{presented: 77, issued: 78, call: time.Hour, ret: time.Hour, session: 1, kind: opPresent})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := history{limit: 1 << 20}
			for _, o := range tc.ops() {
				h.add(o)
			}
			found, _ := h.check(model.Rules{}, []member{{name: "server-1"}})
			if tc.want == "" && len(found) > 0 {
				t.Errorf("found %v (%s)", found, tc.why)
			}
			if tc.want != "" {
				for _, v := range found {
					if v.Invariant == tc.want {
						return
					}
				}
				t.Errorf("found %v, want %s (%s)", found, tc.want, tc.why)
			}
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := history{limit: 100}
	for _, o := range chain(1, 150) {
		h.add(o)
	}
	if h.kept != 100 || h.unkept != 51 {
		t.Errorf("kept %d and dropped %d of 151, want 100 and 51", h.kept, h.unkept)
	}
	if found, n := h.check(model.Rules{}, nil); len(found) > 0 || n != 1 {
		t.Errorf("the beginning of a sound session gives %v in %d sessions", found, n)
	}
}
