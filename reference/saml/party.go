package saml

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"time"
)

// Party is what both sides have. Entity, Key and Logout are required.
type Party struct {
	// Entity is the party's entity ID.
	Entity string
	Key    Key
	// Logout are its own addresses of single log-out, by binding.
	Logout map[Binding]string
	// Open reads what arrives. Nil means the function Open.
	Open func(w Wire, known func(entity string) (Peer, bool)) (Message, error)
	// Memory is what it must not forget. Nil means a new one.
	Memory Memory
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Rand is what IDs are drawn from. Nil means crypto/rand.Reader.
	Rand io.Reader
	// Transport carries the back channel. Nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Timeout bounds a call on the back channel. Zero means 5 seconds.
	Timeout time.Duration
	// Journal is told of each log-out message sent or received, in the
	// goroutine that does so. Nil means nobody is.
	Journal func(Record)
}

// Record is a log-out message as the journal has it.
type Record struct {
	At time.Time
	// From and To are entity IDs.
	From, To string
	Binding  Binding
	Message  Message
	// Err is why it was refused, or could not be delivered.
	Err error
}

func (p Party) withDefaults() (Party, error) {
	switch {
	case p.Entity == "":
		return p, fmt.Errorf("no entity ID")
	case p.Key.Signer == nil || p.Key.Certificate == nil:
		return p, fmt.Errorf("no key")
	case len(p.Logout) == 0:
		return p, fmt.Errorf("no address of single log-out")
	}
	if p.Open == nil {
		p.Open = Open
	}
	if p.Memory == nil {
		p.Memory = NewMemory()
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Rand == nil {
		p.Rand = rand.Reader
	}
	if p.Transport == nil {
		p.Transport = http.DefaultTransport
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Second
	}
	if p.Journal == nil {
		p.Journal = func(Record) {}
	}
	return p, nil
}

// Reply is what comes of a message that arrived.
type Reply struct {
	// Answer goes back by the binding the message came by; nil where the
	// message was itself an answer and a log-out that began here is over.
	Answer *Wire
	// Partial says that a log-out has not reached everybody.
	Partial bool
}

// message begins a message of the party's own.
func (p *Party) message(kind Kind, to string) (Message, error) {
	id, err := newID(p.Rand)
	return Message{Kind: kind, ID: id, Issuer: p.Entity, Destination: to, IssueInstant: p.Now().Truncate(time.Millisecond)}, err
}

// request makes a request to log out.
func (p *Party) request(to, nameID string, indexes []string, why Reason) (Message, error) {
	m, err := p.message(LogoutRequest, to)
	m.NotOnOrAfter, m.Reason, m.NameID, m.SessionIndexes = m.IssueInstant.Add(requestLife), why, nameID, indexes
	return m, err
}

// check judges an authentic message: it must be for one of the party's
// addresses, in time, and new.
func (p *Party) check(m *Message, w Wire, own ...string) error {
	now := p.Now()
	end := m.IssueInstant.Add(maxAge)
	if !m.NotOnOrAfter.IsZero() {
		end = m.NotOnOrAfter
	}
	switch {
	// A signed message that a browser carries must name where it goes
	// (Bindings 3.4.5.2 and 3.5.5.2); on the back channel it may.
	case !slices.Contains(own, m.Destination) && (m.Destination != "" || w.Binding != SOAP):
		return ErrDestination
	case m.IssueInstant.After(now.Add(skew)), !now.Before(end), now.Sub(m.IssueInstant) > maxAge+skew:
		return ErrTime
	case !p.Memory.Once(m.ID, now, later(end, m.IssueInstant.Add(maxAge+skew))):
		return ErrReplayed
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// addresses are the party's own, at which log-out messages may arrive.
func (p *Party) addresses() []string {
	var all []string
	for _, a := range p.Logout {
		all = append(all, a)
	}
	return all
}

// answer makes the response to a request, by the way it came.
func (p *Party) answer(m *Message, by Binding, to Peer, s Status) (*Wire, error) {
	address := to.Logout[by]
	r, err := p.message(LogoutResponse, address)
	if err != nil {
		return nil, err
	}
	if by == SOAP {
		r.Destination = ""
	}
	r.InResponseTo, r.Status, r.RelayState = m.ID, s, m.RelayState
	w, err := Seal(r, by, p.Key)
	if err != nil {
		return nil, fmt.Errorf("answer log-out request: %w", err)
	}
	p.Journal(Record{At: p.Now(), From: p.Entity, To: to.Entity, Binding: by, Message: r})
	return &w, nil
}

// ask sends a request to log out on the back channel. The error is ErrPartial
// where the other side says that it has not reached everybody.
func (p *Party) ask(ctx context.Context, to Peer, m Message) (err error) {
	defer func() {
		p.Journal(Record{At: p.Now(), From: p.Entity, To: to.Entity, Binding: SOAP, Message: m, Err: err})
	}()
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	w, err := Seal(m, SOAP, p.Key)
	if err != nil {
		return fmt.Errorf("ask %s to log out: %w", to.Entity, err)
	}
	body, err := p.call(ctx, w)
	if err != nil {
		return fmt.Errorf("ask %s to log out: %w", to.Entity, err)
	}
	r, err := p.Open(Wire{Binding: SOAP, Body: body}, only(to))
	if err == nil {
		err = p.check(&r, Wire{Binding: SOAP}, p.addresses()...)
	}
	switch {
	case err != nil:
	case r.Kind != LogoutResponse || r.InResponseTo != m.ID:
		err = ErrUnasked
	default:
		err = r.Status.err()
	}
	if err != nil {
		return fmt.Errorf("ask %s to log out: %w", to.Entity, err)
	}
	return nil
}

// err is what a response's status means to who asked.
func (s Status) err() error {
	if s == Success {
		return nil
	}
	return fmt.Errorf("%w: answered %.80q", ErrPartial, string(s))
}

func (p *Party) call(ctx context.Context, w Wire) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(w.Body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "text/xml; charset=utf-8")
	r.Header.Set("SOAPAction", "http://www.oasis-open.org/committees/security")
	resp, err := p.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return body, err
}

func only(peer Peer) func(string) (Peer, bool) {
	return func(entity string) (Peer, bool) { return peer, entity == peer.Entity }
}

// formPage sends a POST binding's fields on: by itself where scripts run, by a
// button elsewhere.
var formPage = template.Must(template.New("form").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>One moment</title></head>
<body{{if .Script}} onload="document.forms[0].submit()"{{end}}><form method="post" action="{{.URL}}">{{range $name, $values := .Form}}{{range $values}}
<input type="hidden" name="{{$name}}" value="{{.}}">{{end}}{{end}}
<p>You are being taken back to where you came from.</p><button>Continue</button></form></body></html>
`))

// HTTP is the wire as an answer to a browser, or on the back channel to the
// caller: status, Location, content type and body. With script the form page
// sends itself, which the page's content policy has to allow.
func (w Wire) HTTP(script bool) (status int, location, contentType string, body []byte) {
	switch w.Binding {
	case Redirect:
		return http.StatusSeeOther, w.URL, "text/plain; charset=utf-8", nil
	case SOAP:
		return http.StatusOK, "", "text/xml; charset=utf-8", w.Body
	}
	var page bytes.Buffer
	err := formPage.Execute(&page, struct {
		Wire
		Script bool
	}{w, script})
	if err != nil {
		return http.StatusInternalServerError, "", "text/plain; charset=utf-8", nil
	}
	return http.StatusOK, "", "text/html; charset=utf-8", page.Bytes()
}
