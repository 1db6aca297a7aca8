package model_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/farmspec/farmspec/reference/model"
)

// Short forms for histories; instants are in milliseconds.
func login(issued string, call, ret int) model.Op {
	return model.Op{Kind: model.Login, Session: "s", Issued: issued, Call: ms(call), Return: ms(ret), Outcome: model.Accepted}
}

func use(presented, issued string, call, ret int) model.Op {
	return model.Op{Kind: model.Present, Member: "server-1", Presented: presented, Issued: issued, Call: ms(call), Return: ms(ret), Outcome: model.Accepted}
}

func closing(presented string, call, ret int) model.Op {
	return model.Op{Kind: model.Close, Session: "s", Presented: presented, Call: ms(call), Return: ms(ret), Outcome: model.Accepted}
}

func but(o model.Outcome, op model.Op) model.Op {
	op.Outcome = o
	return op
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

var (
	strict   = model.Rules{}
	coalesce = model.Rules{Coalesce: true, Grace: ms(100)}
)

// broken is what a test expects of a violation; its text is for people.
type broken struct {
	Invariant string
	Ops       []int
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules model.Rules
		ops   []model.Op
		want  []broken
		why   string
	}{
		{"a chain", strict, []model.Op{login("a", 0, 1), use("a", "b", 2, 3), use("b", "c", 4, 5), closing("c", 6, 7)}, nil,
			"the plain life of a session"},
		{"nothing", strict, nil, nil, "an empty history accuses nobody"},
		{"a race with one winner", strict, []model.Op{login("a", 0, 1), use("a", "b", 2, 9), but(model.Refused, use("a", "", 2, 9))}, nil,
			"the loser is refused, as claim 4 has it"},
		{"a token used as it arrives", strict, []model.Op{login("a", 0, 1), use("a", "b", 2, 9), use("b", "c", 5, 6)}, nil,
			"the successor may be out before the first answer is complete"},

		{"a race with two winners", strict, []model.Op{login("a", 0, 1), use("a", "b", 2, 9), use("a", "c", 2, 9)},
			[]broken{{model.I1, []int{1, 2}}, {model.I2, []int{1, 2}}}, "check, then set (F14)"},
		{"a replay, no new token", strict, []model.Op{login("a", 0, 1), use("a", "b", 2, 3), use("a", "", 8, 9)},
			[]broken{{model.I1, []int{1, 2}}}, "the page alone is acceptance enough"},
		{"a replay whose answer was cut off", strict, []model.Op{login("a", 0, 1), use("a", "b", 2, 3), but(model.Lost, use("a", "c", 8, 0))},
			[]broken{{model.I1, []int{1, 2}}, {model.I2, []int{1, 2}}}, "the token was seen, so the farm had accepted"},
		{"no rotation", strict, []model.Op{login("a", 0, 1), use("a", "a", 2, 3), use("a", "a", 4, 5)},
			[]broken{{model.I1, []int{1, 2}}}, "F11 accepts one token again and again"},
		{"a session that merges", strict, []model.Op{login("a", 0, 1), use("a", "b", 2, 3), use("b", "c", 4, 5), use("c", "b", 6, 7)},
			[]broken{{model.I2, []int{1, 3}}}, "a token comes back as its own descendant"},
		{"one token for two sessions", strict, []model.Op{login("a", 0, 1),
			{Kind: model.Login, Session: "other", Issued: "a", Call: ms(2), Return: ms(3), Outcome: model.Accepted}},
			[]broken{{model.I2, []int{0, 1}}}, "session IDs are unique (F25, F55)"},

		{"accepted after the close", strict, []model.Op{login("a", 0, 1), closing("", 2, 3), use("a", "b", 4, 5)},
			[]broken{{model.I3, []int{1, 2}}}, "a closed session stays closed"},
		{"accepted beside the close", strict, []model.Op{login("a", 0, 1), closing("a", 2, 9), use("a", "b", 8, 12)}, nil,
			"the close may have come second (D20)"},
		{"the successor of a hop beside the close", strict, []model.Op{login("a", 0, 1), closing("a", 2, 9), use("a", "b", 8, 12), use("b", "c", 13, 14)},
			[]broken{{model.I3, []int{1, 3}}}, "the hop's token has to die with its session (F39)"},
		{"accepted after the first of two closes", strict, []model.Op{login("a", 0, 1), closing("", 2, 30), closing("a", 4, 5), use("a", "b", 6, 7)},
			[]broken{{model.I3, []int{2, 3}}}, "the first acknowledgement counts"},
		{"accepted after a close that was lost", strict, []model.Op{login("a", 0, 1), but(model.Lost, closing("a", 2, 0)), use("a", "b", 4, 5)}, nil,
			"nobody knows whether the close happened"},
		{"accepted after a close that was refused", strict, []model.Op{login("a", 0, 1), but(model.Refused, closing("x", 2, 3)), use("a", "b", 4, 5)}, nil,
			"a refused close closes nothing"},
		{"another session after the close", strict, []model.Op{login("a", 0, 1), closing("", 2, 3),
			{Kind: model.Login, Session: "s2", Issued: "x", Call: ms(4), Return: ms(5), Outcome: model.Accepted}, use("x", "y", 6, 7)}, nil,
			"closing reaches one session"},

		{"a forged token", strict, []model.Op{login("a", 0, 1), use("forged", "b", 2, 3)},
			[]broken{{model.I5, []int{1}}}, "nobody was given it"},
		{"a forged token closes", strict, []model.Op{login("a", 0, 1), closing("forged", 2, 3)},
			[]broken{{model.I5, []int{1}}}, "a close is an acceptance too"},
		{"a token ahead of its issue", strict, []model.Op{login("a", 0, 1), use("b", "c", 2, 3), use("a", "b", 5, 6)},
			[]broken{{model.I5, []int{1, 2}}}, "whoever guesses the next token needs no session"},
		{"a token out of a lost answer", strict, []model.Op{login("a", 0, 1), but(model.Lost, use("a", "", 2, 0)), use("b", "c", 4, 5)}, nil,
			"the lost answer may have held it"},
		{"a token out of a later lost answer", strict, []model.Op{login("a", 0, 1), use("b", "c", 2, 3), but(model.Lost, use("a", "", 4, 0))},
			[]broken{{model.I5, []int{1}}}, "what was called later cannot have issued it"},
		{"a lost use, then the same token", strict, []model.Op{login("a", 0, 1), but(model.Lost, use("a", "", 2, 0)), use("a", "b", 4, 5)}, nil,
			"the lost one may never have arrived (D4)"},

		{"a race that gets one successor", coalesce, []model.Op{login("a", 0, 1), use("a", "b", 2, 9), use("a", "b", 2, 9), use("a", "b", 50, 51)}, nil,
			"coalesce gives all of them the same (D3)"},
		{"a race that forks", coalesce, []model.Op{login("a", 0, 1), use("a", "b", 2, 9), use("a", "c", 2, 9)},
			[]broken{{model.I2Prime, []int{1, 2}}}, "a grace that mints a second successor (F18)"},
		{"exactly the grace", coalesce, []model.Op{login("a", 0, 1), use("a", "b", 2, 9), use("a", "b", 109, 110)}, nil,
			"at the limit is not over it"},
		{"over the grace", coalesce, []model.Op{login("a", 0, 1), use("a", "b", 2, 9), use("a", "b", 110, 111)},
			[]broken{{model.I1Prime, []int{1, 2}}}, "measured grace must not exceed the declared one"},
		{"over the grace of a lost answer", coalesce, []model.Op{login("a", 0, 1), but(model.Lost, use("a", "b", 2, 0)), use("a", "b", 200, 201)}, nil,
			"the lost one may have arrived late"},
		{"two generations back", coalesce, []model.Op{login("a", 0, 1), use("a", "b", 2, 3), use("b", "c", 4, 5), use("a", "b", 6, 7)},
			[]broken{{model.I1Prime, []int{2, 3}}}, "only the immediate predecessor is good"},
		{"predecessor gets the newest", coalesce, []model.Op{login("a", 0, 1), use("a", "b", 2, 3), use("b", "c", 4, 9), use("a", "c", 4, 9)},
			[]broken{{model.I2Prime, []int{1, 3}}, {model.I2Prime, []int{2, 3}}}, "one successor for each token"},

		{"an order nobody can find", strict, []model.Op{login("a", 0, 1), use("a", "b", 50, 60), use("b", "c", 5, 100), use("c", "d", 10, 40)},
			[]broken{{model.Linearizability, []int{0, 1, 2, 3}}}, "d was out before a was called, though no two neighbours contradict"},

		{"no such kind", strict, []model.Op{{Kind: "dance", Outcome: model.Accepted}}, []broken{{model.Undecided, []int{0}}}, "a recorder's fault is not the farm's"},
		{"an answer before its call", strict, []model.Op{login("a", 3, 1)}, []broken{{model.Undecided, []int{0}}}, "a recorder's fault is not the farm's"},
		{"two log-ins under one name", strict, []model.Op{login("a", 0, 1), login("b", 2, 3)}, []broken{{model.Undecided, []int{0, 1}}},
			"a recorder's fault is not the farm's"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []broken
			for _, v := range model.Check(tc.ops, tc.rules) {
				if v.Text == "" {
					t.Errorf("violation of %s has no text", v.Invariant)
				}
				got = append(got, broken{v.Invariant, v.Ops})
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("violations (-want +got), %s:\n%s", tc.why, d)
			}
		})
	}
}

// farm is a correct farm in one goroutine: it decides at instants of its own
// and writes down intervals around them.
type farm struct {
	*rand.Rand
	rules model.Rules
	now   time.Duration
	drawn int
	ops   []model.Op
}

type session struct {
	name                       string
	current, previous, earlier string
	replaced                   time.Duration
	closed                     bool
}

func (f *farm) token() string {
	f.drawn++
	return fmt.Sprint("t", f.drawn)
}

// write adds an operation that was decided now.
func (f *farm) write(op model.Op) {
	op.Member = fmt.Sprint("server-", 1+f.IntN(3))
	op.Call, op.Return = f.now-ms(f.IntN(30)), f.now+ms(f.IntN(30))
	if op.Outcome == model.Accepted && f.IntN(8) == 0 {
		op.Outcome, op.Return = model.Lost, 0
		if f.IntN(2) == 0 {
			op.Issued = ""
		}
	}
	f.ops = append(f.ops, op)
}

func (f *farm) present(s *session, token string) {
	op := model.Op{Kind: model.Present, Presented: token, Outcome: model.Refused}
	switch {
	case f.IntN(20) == 0: // refused for reasons of its own
	case !s.closed && token == s.current:
		s.earlier, s.previous, s.current, s.replaced = s.previous, s.current, f.token(), f.now
		op.Outcome, op.Issued = model.Accepted, s.current
	case !s.closed && f.rules.Coalesce && token == s.previous && f.now-s.replaced <= f.rules.Grace:
		op.Outcome, op.Issued = model.Accepted, s.current
	}
	f.write(op)
}

func (f *farm) run(sessions, steps int) []model.Op {
	open := make([]*session, sessions)
	for i := range open {
		f.now += ms(1)
		open[i] = &session{name: fmt.Sprint("s", i), current: f.token()}
		f.write(model.Op{Kind: model.Login, Session: open[i].name, Issued: open[i].current, Outcome: model.Accepted})
	}
	for range steps {
		f.now += ms(1 + f.IntN(15))
		s := open[f.IntN(len(open))]
		switch n := f.IntN(20); {
		case n == 0:
			s.closed = true
			f.write(model.Op{Kind: model.Close, Session: s.name, Outcome: model.Accepted})
		case n < 5 && s.previous != "":
			f.present(s, s.previous)
		case n < 7 && s.earlier != "":
			f.present(s, s.earlier)
		case n == 7:
			f.present(s, "forged")
		default:
			f.present(s, s.current)
		}
	}
	f.Shuffle(len(f.ops), func(i, j int) { f.ops[i], f.ops[j] = f.ops[j], f.ops[i] })
	return f.ops
}

func TestNoFalseAccusation(t *testing.T) {
	for _, rules := range []model.Rules{strict, coalesce} {
		accepted := 0
		for seed := range uint64(300) {
			f := farm{Rand: rand.New(rand.NewPCG(seed, 0)), rules: rules}
			ops := f.run(1+int(seed%4), 60)
			for _, op := range ops {
				if op.Kind == model.Present && op.Outcome == model.Accepted {
					accepted++
				}
			}
			if v := model.Check(ops, rules); len(v) > 0 {
				t.Fatalf("coalesce %v, seed %d: a correct farm is accused: %s\n%+v", rules.Coalesce, seed, v[0].Text, pick(ops, v[0].Ops))
			}
		}
		if accepted < 3000 {
			t.Errorf("coalesce %v: the histories hold %d accepted presentations, too few to mean anything", rules.Coalesce, accepted)
		}
	}
}

// A replay that a correct history refused is turned into an acceptance.
func TestOneWrongAcceptanceIsFound(t *testing.T) {
	for _, rules := range []model.Rules{strict, coalesce} {
		turned, found := 0, 0
		for seed := range uint64(300) {
			f := farm{Rand: rand.New(rand.NewPCG(seed, 1)), rules: rules}
			ops := f.run(2, 60)
			i := slices.IndexFunc(ops, func(op model.Op) bool {
				return op.Outcome == model.Refused && op.Presented != "forged" && slices.ContainsFunc(ops, func(first model.Op) bool {
					return first.Outcome == model.Accepted && first.Presented == op.Presented && first.Return+ms(100) < op.Call
				})
			})
			if i < 0 {
				continue
			}
			turned++
			ops[i].Outcome, ops[i].Issued = model.Accepted, "stolen"
			if v := model.Check(ops, rules); slices.ContainsFunc(v, func(v model.Violation) bool { return slices.Contains(v.Ops, i) }) {
				found++
			} else {
				t.Errorf("coalesce %v, seed %d: an accepted replay goes unnoticed: %v", rules.Coalesce, seed, v)
			}
		}
		if turned < 100 {
			t.Errorf("coalesce %v: %d histories had a replay to turn, too few to mean anything", rules.Coalesce, turned)
		}
	}
}

func TestCheckIsStable(t *testing.T) {
	ops := []model.Op{login("a", 0, 1), use("a", "b", 2, 9), use("a", "c", 2, 9), use("x", "y", 2, 9), closing("", 10, 11), use("b", "d", 12, 13)}
	want := model.Check(ops, strict)
	for range 20 {
		if d := cmp.Diff(want, model.Check(ops, strict)); d != "" {
			t.Fatalf("two checks of one history differ (-first +later):\n%s", d)
		}
	}
}

func pick(ops []model.Op, indices []int) (picked []model.Op) {
	for _, i := range indices {
		picked = append(picked, ops[i])
	}
	return picked
}

func BenchmarkCheck(b *testing.B) {
	f := farm{Rand: rand.New(rand.NewPCG(1, 2)), rules: strict}
	ops := f.run(500, 20_000)
	b.ReportMetric(float64(len(ops)), "ops/check")
	for b.Loop() {
		if v := model.Check(ops, strict); len(v) > 0 {
			b.Fatal(v[0].Text)
		}
	}
}
