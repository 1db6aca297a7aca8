package simfarm

import (
	"errors"
	"fmt"
	"testing"

	"github.com/farmspec/farmspec/reference"
)

func TestRecorderForgetsTheOldestTraces(t *testing.T) {
	r := newRecorder()
	for i := range maxTraces + 1 {
		r.add(fmt.Sprint(i), reference.Event{Part: "server-1", Peer: "server-1", Op: "receive"})
	}
	for range 3 * maxMessages {
		r.add("1", reference.Event{Part: "server-1", Peer: "service", Op: "renew"})
	}
	r.add("1", reference.Event{Part: "server-1", Op: "encrypt"})
	r.add("1", reference.Event{Part: "server-1", Peer: "service", Op: "renew", Detail: "x", Err: errors.New("no")})
	for _, tc := range []struct {
		trace string
		want  int
		why   string
	}{
		{"0", 0, "it is the oldest of one too many"},
		{"1", maxMessages, "a trace's messages are bounded too"},
		{fmt.Sprint(maxTraces), 1, "it is the newest"},
		{"none", 0, "nobody sent it"},
	} {
		got, err := r.Messages(t.Context(), tc.trace)
		if err != nil || len(got) != tc.want {
			t.Errorf("Messages(%s) = %d, %v, want %d (%s)", tc.trace, len(got), err, tc.want, tc.why)
		}
	}
	if len(r.traces) != maxTraces {
		t.Errorf("remembers %d traces, want %d", len(r.traces), maxTraces)
	}
	got, _ := r.Messages(t.Context(), "1")
	if m := got[maxMessages-1]; m.From != "server-1" || m.To != "service" || m.OK || m.Detail != "x: no" {
		t.Errorf("last and refused call = %+v, want it from server-1 to service, not OK, the cause as detail", m)
	}
	if m := got[maxMessages-2]; m.From != "server-1" || m.To != "server-1" || !m.OK {
		t.Errorf("own act = %+v, want From == To and OK", m)
	}
	got, _ = r.Messages(t.Context(), "2")
	if m := got[0]; m.From != "browser" || m.To != "server-1" {
		t.Errorf("received request = %+v, want it from the browser", m)
	}
}
