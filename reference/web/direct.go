package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/farmspec/farmspec/reference"
)

// handoffPath receives direct hand-offs from other members.
const handoffPath = "/internal/handoff"

type transferRef struct {
	Ref reference.ID `json:"ref"`
}

// sendTransfer transmits the token to the other member and returns the
// reference by which the browser will claim it.
func (v *visit) sendTransfer(to Member, t reference.Token, at int64) (string, error) {
	var got transferRef
	err := v.client.call(v.ctx, "hand off to "+to.Name, http.MethodPost, to.URL+handoffPath,
		appendPresented(nil, reference.Presented{Token: t, HandedOffAt: at}), &got)
	if err == nil && got.Ref.IsZero() {
		err = fmt.Errorf("hand off to %s: answered without a reference", to.Name)
	}
	v.note("handoff", to.Name, "direct", err)
	return got.Ref.String(), err
}

// receiveTransfer keeps a token that another member transmits.
func (v *visit) receiveTransfer() {
	if _, ok := v.peers.caller(v.r.Header); !ok {
		v.w.Header().Set("WWW-Authenticate", `Bearer realm="farm members"`)
		writeProblem(v.w, http.StatusUnauthorized, "caller")
		return
	}
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	body, err := b.read(v.r, maxRequest)
	if err != nil || !isJSON(v.r.Header) {
		writeProblem(v.w, http.StatusBadRequest, codeRequest)
		return
	}
	p, err := decodePresented(body)
	if err != nil {
		writeProblem(v.w, http.StatusBadRequest, codeRequest)
		return
	}
	ref, err := reference.NewID(v.Rand)
	if err != nil {
		writeProblem(v.w, http.StatusInternalServerError, codeFailure)
		return
	}
	v.transfer.keep(ref.String(), p)
	out, _ := json.Marshal(transferRef{ref}) // an ID always has a form
	v.write(http.StatusOK, jsonType, out)
}

// transfers are the hand-offs received and not yet claimed. The zero value is
// ready. The oldest give way beyond maxTransfers: each was posted by a member
// a moment before its browser came, so what is old is abandoned.
type transfers struct {
	mu    sync.Mutex
	byRef map[string]reference.Presented
	order []string
}

const maxTransfers = 4096

func (t *transfers) keep(ref string, p reference.Presented) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byRef == nil {
		t.byRef = make(map[string]reference.Presented)
	}
	for len(t.order) >= maxTransfers {
		delete(t.byRef, t.order[0])
		t.order = t.order[1:]
	}
	if _, again := t.byRef[ref]; !again {
		t.order = append(t.order, ref)
	}
	t.byRef[ref] = p
}

func (t *transfers) peek(ref string) (reference.Presented, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.byRef[ref]
	return p, ok
}

// forget drops a reference that has been claimed. Its place in the order
// passes by and by.
func (t *transfers) forget(ref string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byRef, ref)
}
