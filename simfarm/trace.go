package simfarm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
)

// A recorder forgets the oldest trace beyond maxTraces, and of a trace the
// older messages beyond maxMessages, so that its memory is bounded.
const (
	maxTraces   = 1024
	maxMessages = 1024
)

// recorder is the farm's farmspec.TraceHook: it keeps what the farm's parts
// did, by trace.
type recorder struct {
	mu     sync.Mutex
	traces map[string]*[]farmspec.Message
	ring   []string // the remembered traces; the oldest is at next once full
	next   int
}

func newRecorder() *recorder {
	return &recorder{traces: make(map[string]*[]farmspec.Message)}
}

func (r *recorder) add(trace string, e reference.Event) {
	if trace == "" {
		return
	}
	m := farmspec.Message{From: e.Part, To: e.Peer, Op: e.Op, Detail: e.Detail, OK: e.Err == nil}
	switch {
	case m.Op == farmspec.OpReceive:
		m.From, m.To = "browser", e.Part // the receiver tells what the browser said
	case m.To == "":
		m.To = m.From
	}
	if e.Err != nil {
		if m.Detail != "" {
			m.Detail += ": "
		}
		m.Detail += e.Err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.At = e.Began
	if m.At.IsZero() {
		m.At = time.Now()
	}
	log := r.traces[trace]
	if log == nil {
		log = new([]farmspec.Message)
		r.traces[trace] = log
		if len(r.ring) < maxTraces {
			r.ring = append(r.ring, trace)
		} else {
			delete(r.traces, r.ring[r.next])
			r.ring[r.next] = trace
			r.next = (r.next + 1) % maxTraces
		}
	}
	if len(*log) == 2*maxMessages {
		*log = append((*log)[:0], (*log)[maxMessages:]...)
	}
	*log = append(*log, m)
}

// Messages returns what is remembered of the trace; nothing for an unknown one.
func (r *recorder) Messages(_ context.Context, trace string) ([]farmspec.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if log := r.traces[trace]; log != nil {
		messages := slices.Clone((*log)[max(0, len(*log)-maxMessages):])
		slices.SortStableFunc(messages, func(a, b farmspec.Message) int { return a.At.Compare(b.At) })
		return messages, nil
	}
	return nil, nil
}

// logHook is the farm's farmspec.LogHook: what its parts report, as lines of
// text. The farm writes no other log.
type logHook struct{ *recorder }

func (h logHook) Read(context.Context) (map[string]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	logs := make(map[string]*strings.Builder)
	for trace, messages := range h.traces {
		for _, m := range *messages {
			part := m.From
			if m.Op == farmspec.OpReceive {
				part = m.To
			}
			b := logs[part]
			if b == nil {
				b = new(strings.Builder)
				logs[part] = b
			}
			fmt.Fprintf(b, "%s %s %s %s to %s ok=%t %s\n", m.At.Format(time.RFC3339Nano), trace, m.From, m.Op, m.To, m.OK, m.Detail)
		}
	}
	texts := make(map[string]string, len(logs))
	for part, b := range logs {
		texts[part] = b.String()
	}
	return texts, nil
}
