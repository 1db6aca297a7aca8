package loadtest

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/model"
)

// mark is a salted digest of a token: equal, within one process, where the
// tokens are, save for one chance in 2^64. Zero is no token.
type mark uint64

var markSeed = maphash.MakeSeed()

func (l *load) mark(token string) mark {
	if token == "" {
		return 0
	}
	return max(1, mark(maphash.String(markSeed, token)))
}

func (m mark) String() string {
	if m == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(m), 36)
}

// op is a model.Op in 56 bytes.
type op struct {
	presented, issued mark
	call, ret         time.Duration
	session, browser  uint32
	member            int16
	kind, outcome     uint8
}

var (
	opKinds    = [...]model.Kind{model.Login, model.Present, model.Close}
	opOutcomes = [...]model.Outcome{model.Accepted, model.Refused, model.Lost}
)

const (
	opLogin, opPresent, opClose     = 0, 1, 2
	opAccepted, opRefused, opLostIt = 0, 1, 2
)

// history keeps what every token went through, up to a number of operations.
// It is safe for concurrent use.
type history struct {
	limit int

	mu       sync.Mutex
	blocks   [][]op
	kept     int
	unkept   uint64
	sessions uint32
}

const historyBlock = 4096

func (h *history) newSession() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions++
	return h.sessions
}

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.kept >= h.limit {
		h.unkept++
		return
	}
	if n := len(h.blocks); n == 0 || len(h.blocks[n-1]) == historyBlock {
		h.blocks = append(h.blocks, make([]op, 0, historyBlock))
	}
	last := &h.blocks[len(h.blocks)-1]
	*last = append(*last, o)
	h.kept++
}

// window bounds the operations of one session that the model looks at as a
// whole: its search takes memory with the square of them.
const window = 2000

// batch bounds the operations given to the model at once.
const batch = 20_000

// check judges the history by the model and forgets it. It returns what it
// found and how many sessions there were.
func (h *history) check(rules model.Rules, members []member) (found []farmspec.LoadViolation, sessions int) {
	h.mu.Lock()
	all := slices.Concat(h.blocks...)
	h.blocks = nil
	h.mu.Unlock()
	slices.SortFunc(all, func(a, b op) int {
		return cmp.Or(cmp.Compare(a.session, b.session), cmp.Compare(a.call, b.call), cmp.Compare(a.ret, b.ret), cmp.Compare(a.kind, b.kind))
	})
	var ops []model.Op
	judge := func() {
		for _, v := range model.Check(ops, rules) {
			var at time.Duration
			if n := len(v.Ops); n > 0 {
				at = ops[v.Ops[n-1]].Call
			}
			found = append(found, farmspec.LoadViolation{Invariant: v.Invariant, Text: v.Text, At: at})
		}
		ops = ops[:0]
	}
	entangled := sharing(all)
	var together []op
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].session == all[0].session {
			n++
		}
		session := all[:n]
		all = all[n:]
		sessions++
		if entangled[session[0].session] {
			together = append(together, session...)
			continue
		}
		for part, name := range windows(session) {
			if len(ops)+len(part) > batch {
				judge()
			}
			for _, o := range part {
				ops = append(ops, o.model(name, members))
			}
		}
	}
	judge()
	for _, o := range together {
		ops = append(ops, o.model(strconv.Itoa(int(o.session)), members))
	}
	judge()
	return found, sessions
}

// sharing returns the sessions that have a token in common with another, as
// none should.
func sharing(all []op) map[uint32]bool {
	type holding struct {
		m       mark
		session uint32
	}
	var held []holding
	for _, o := range all {
		if o.issued != 0 {
			held = append(held, holding{o.issued, o.session})
		}
		if o.presented != 0 && o.outcome == opAccepted {
			held = append(held, holding{o.presented, o.session})
		}
	}
	slices.SortFunc(held, func(a, b holding) int { return cmp.Compare(a.m, b.m) })
	shared := make(map[uint32]bool)
	for i := 1; i < len(held); i++ {
		if a, b := held[i-1], held[i]; a.m == b.m && a.session != b.session {
			shared[a.session], shared[b.session] = true, true
		}
	}
	return shared
}

// windows cuts a session's operations, in order of their calls, into parts
// that can be judged on their own, and names them. A cut is made where all that
// was begun has ended and no older token than the current one is accepted any
// more; the part after it begins with the current token as if logged in with it.
func windows(session []op) iter.Seq2[[]op, string] {
	return func(yield func([]op, string) bool) {
		name := strconv.Itoa(int(session[0].session))
		if len(session) <= window {
			yield(session, name)
			return
		}
		lastUse := make(map[mark]int, len(session))
		for i, o := range session {
			if o.outcome == opAccepted && o.presented != 0 {
				lastUse[o.presented] = i
			}
		}
		first, used, ended := 0, 0, time.Duration(0)
		start := []op(nil) // what stands for all before first
		for i, o := range session {
			used, ended = max(used, lastUse[o.presented]), max(ended, o.ret)
			last := i == len(session)-1
			quiet := o.kind != opClose && o.outcome == opAccepted && o.issued != 0 && used <= i && !last && ended < session[i+1].call
			if last || quiet && i-first >= window {
				part := session[first : i+1]
				if start != nil {
					part = append(start, part...)
				}
				if !yield(part, name) {
					return
				}
				first, start = i+1, []op{{issued: o.issued, call: ended, ret: ended, session: o.session, browser: o.browser, member: o.member, kind: opLogin}}
				name = fmt.Sprintf("%d/%d", o.session, first)
			}
			if o.issued != 0 {
				used = max(used, lastUse[o.issued])
			}
		}
	}
}

func (o *op) model(session string, members []member) model.Op {
	m := model.Op{
		Client: "browser-" + strconv.Itoa(int(o.browser)), Kind: opKinds[o.kind], Session: session,
		Presented: o.presented.String(), Issued: o.issued.String(), Call: o.call, Return: o.ret, Outcome: opOutcomes[o.outcome],
	}
	if _, part, cut := strings.Cut(session, "/"); cut { // the token at a cut is in both parts
		for _, token := range []*string{&m.Presented, &m.Issued} {
			if *token != "" {
				*token += "/" + part
			}
		}
	}
	if o.member >= 0 && int(o.member) < len(members) {
		m.Member = members[o.member].name
	}
	return m
}
