package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/farmspec/farmspec/reference"
)

// visit is one request on its way through a member.
type visit struct {
	*Server
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context

	// path is farm-wide, decoded and without path parameters; raw is as the browser sent it.
	path, raw string
	// query is the raw query without the farm's own parameters, which are in sent.
	query string
	sent  sentParams
	page  Page

	// Once admitted: what the service granted, the token presented for it, by
	// which way it came, and the sealed new token unless the policy kept the old one.
	grant     reference.Grant
	presented reference.Token
	handedOff bool
	fresh     string
}

// errRefused is a refusal that the service was not asked about.
var errRefused = errors.New("refused")

// refusal reports whether err says no, as opposed to "could not ask".
func refusal(err error) bool {
	for _, no := range []error{errRefused, reference.ErrSealed, reference.ErrUnknown, reference.ErrSpent, reference.ErrExpired,
		reference.ErrClosed, reference.ErrMismatch, reference.ErrHandoff} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

func (v *visit) note(op, peer, detail string, err error) {
	v.Observer.Event(v.ctx, reference.Event{Part: v.Name, Peer: peer, Op: op, Detail: detail, Err: err})
}

func (v *visit) point(name string) { v.Observer.Point(v.ctx, name) }

// pass is the first server's part: another member holds the page. The
// browser's token is opened, transmitted and not consumed (claim 1, D10).
func (v *visit) pass() {
	to, ok := v.Farm.Directory.Member(v.page.Member)
	if !ok {
		v.notFound()
		return
	}
	own, ownErr := v.token()
	if away, err := v.elsewhere(own, ownErr); away.Name != "" || err != nil {
		v.bounce(away, err)
		return
	}
	if ownErr != nil {
		v.refuse()
		return
	}
	v.point("after-decrypt")
	params, err := v.handOver(to, own)
	if err != nil {
		v.fail(err)
		return
	}
	v.point("after-redirect")
	if v.Farm.Topology == SplitDomain {
		v.setPointer(to.Name)
	}
	v.redirect(to, params)
}

// handOver transmits the token to the receiving member in the farm's mode, as
// far as the URL does not, and returns the URL's part (claims 1 and 9).
func (v *visit) handOver(to Member, t reference.Token) (string, error) {
	if v.Farm.Handoff == Claimed {
		return v.params.ID + "=" + t.ID.String() + "&" + v.params.Timestamp + "=" + strconv.FormatInt(t.Timestamp, 10), nil
	}
	// The age of a hand-off is judged by the service, so it starts by the service's clock.
	now, err := v.Sessions.Time(v.ctx)
	if err != nil {
		return "", err
	}
	if v.Farm.Handoff == Direct {
		ref, err := v.sendTransfer(to, t, now.UnixMilli())
		return v.params.Sealed + "=" + ref, err
	}
	sealed, err := v.Sealer.SealHandoff(to.Name, t, now.UnixMilli())
	return v.params.Sealed + "=" + sealed, err
}

// redirect sends the browser to a member for the same page. 303 and 307 are
// never cached unasked, and 307 keeps method and body (D18).
func (v *visit) redirect(to Member, params string) {
	query := params
	if v.query != "" {
		query = v.query + "&" + params
	}
	status := http.StatusSeeOther
	if !v.safe() {
		status = http.StatusTemporaryRedirect
	}
	if v.watched {
		v.note("redirect", "browser", "to "+to.Name, nil)
	}
	v.see(status, to.URL+v.raw+"?"+query)
}

// elsewhere returns the member to ask instead, where the browser's token for
// this host is of no use and a pointer says that it went on with the session
// there (split-domain return trips, D1). It does not say why the token is of
// no use, so that the answer gives nothing away about it (D22).
func (v *visit) elsewhere(own reference.Token, ownErr error) (Member, error) {
	if v.Farm.Topology != SplitDomain || !v.safe() || v.sent.bounces >= len(v.Farm.Directory.Members()) {
		return Member{}, nil
	}
	to, ok := v.pointer()
	if !ok {
		return Member{}, nil
	}
	if ownErr == nil {
		switch _, err := v.Sessions.Verify(v.ctx, reference.Presented{Token: own}); {
		case err == nil:
			return Member{}, nil
		case !refusal(err):
			return Member{}, err
		}
	}
	return to, nil
}

func (v *visit) bounce(to Member, err error) {
	if err != nil {
		v.fail(err)
		return
	}
	v.redirect(to, bounceParam+"="+strconv.Itoa(v.sent.bounces+1))
}

// serve is the second server's part, and the only part where the page is held
// by the member that was asked (D11): admit the session, then answer page and
// new token in the same response (claim 2).
func (v *visit) serve() {
	own, ownErr := v.token()
	p, err := v.choose(own, ownErr)
	if errors.Is(err, errNothing) {
		if away, err := v.elsewhere(own, ownErr); away.Name != "" || err != nil {
			v.bounce(away, err)
			return
		}
		p, err = reference.Presented{Token: own}, ownErr
	}
	if err == nil {
		err = v.admit(p)
	}
	if err == nil {
		v.point("in-handler")
		err = v.show()
	}
	switch {
	case errors.Is(err, errEnded):
		v.setToken()
		v.notice(http.StatusConflict, "Ended meanwhile", "What this page remembered was given up while you asked.")
	case refusal(err):
		v.refuse()
	case err != nil:
		v.fail(err)
	}
}

// admit has the service verify the token and, unless the policy spares this
// kind of request, replace it.
func (v *visit) admit(p reference.Presented) (err error) {
	if v.Farm.Rotation == reference.ReadVerify && !navigation(v.r) {
		v.grant, err = v.Sessions.Verify(v.ctx, p)
		return err
	}
	if v.grant, err = v.Sessions.Renew(v.ctx, p); err != nil {
		return err
	}
	v.presented = p.Token
	v.fresh, err = v.Sealer.Seal(v.grant.Token)
	v.note("encrypt", v.Name, "", err)
	return err
}

// errNothing: the request carries no hand-off that counts.
var errNothing = errors.New("no hand-off")

// choose decides which token counts: the hand-off, the browser's own, or
// neither. A hand-off is authoritative, but must not name another live session
// than the browser's own token does, and one that is spent leaves the decision
// to the browser's own token (D13). Nothing is consumed here.
func (v *visit) choose(own reference.Token, ownErr error) (reference.Presented, error) {
	h, ok, err := v.handed()
	switch {
	case err != nil:
		return h, err
	case !ok:
		return h, errNothing
	case errors.Is(ownErr, errManyCookies):
		return h, errRefused
	}
	// Where the browser shows its token to all members, a direct hand-off is
	// good together with that token only (WF-G.2).
	bound := v.Farm.Handoff == Direct && v.Farm.Topology != SplitDomain
	switch {
	case ownErr == nil && own.SameAs(h.Token):
	case ownErr == nil:
		mine, err := v.Sessions.Verify(v.ctx, reference.Presented{Token: own})
		if refusal(err) && !bound {
			break
		}
		if err != nil {
			return h, err
		}
		theirs, err := v.Sessions.Verify(v.ctx, reference.Presented{Token: h.Token})
		switch {
		case errors.Is(err, reference.ErrSpent):
			return reference.Presented{Token: own}, nil
		case err != nil:
			return h, err
		case mine.Session != theirs.Session:
			if v.Farm.Handoff == Sealed {
				v.tried.keep(strings.Clone(v.sent.sealed), h)
			}
			return h, errRefused
		}
	case bound:
		return h, errRefused
	}
	v.handedOff = true
	v.transfer.forget(v.sent.sealed)
	return h, nil
}

// handed reads the hand-off of the request. False means that there is none, or
// one that has been used: a reference that was claimed, or a sealed one that
// was refused. Only this member opens it, so only this member need remember.
func (v *visit) handed() (p reference.Presented, ok bool, err error) {
	switch {
	case v.sent.none():
		return p, false, nil
	case v.sent.bad:
		return p, false, errRefused
	case v.Farm.Handoff == Claimed:
		if p.Token.ID, err = reference.ParseID(v.sent.id); err != nil {
			return p, false, errRefused
		}
		p.Token.Timestamp, err = strconv.ParseInt(v.sent.timestamp, 10, 64)
		if err != nil || strconv.FormatInt(p.Token.Timestamp, 10) != v.sent.timestamp {
			return p, false, errRefused
		}
		return p, true, nil
	case v.Farm.Handoff == Direct:
		p, ok = v.transfer.peek(v.sent.sealed)
		return p, ok, nil
	}
	p.Token, p.HandedOffAt, err = v.Sealer.OpenHandoff(v.Name, v.sent.sealed)
	v.note("decrypt", v.Name, "hand-off", err)
	if err != nil {
		return p, false, errRefused
	}
	if _, tried := v.tried.peek(v.sent.sealed); tried {
		return p, false, nil // one attempt is all it was good for (CAS 3.0, section 3.1.1)
	}
	return p, true, nil
}

// bounceParam counts how often a request was sent on for want of a token.
const bounceParam = "farm-bounce"

// sentParams are the farm's own parameters of a query.
type sentParams struct {
	id, timestamp, sealed string
	bad                   bool // repeated, incomplete or not decodable
	bounces               int
}

func (p sentParams) none() bool {
	return !p.bad && p.id == "" && p.timestamp == "" && p.sealed == ""
}

// splitQuery takes the farm's own parameters out of a query and leaves every
// other byte of it in place.
func (s *Server) splitQuery(raw string) (rest string, sent sentParams) {
	if raw == "" {
		return "", sent
	}
	kept := strings.Split(raw, "&")
	kept = slices.DeleteFunc(kept, func(pair string) bool {
		k, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		if err != nil || name != bounceParam && !s.params.has(name) {
			return false
		}
		value, err = url.QueryUnescape(value)
		if name == bounceParam {
			if n, err := strconv.ParseUint(value, 10, 8); err == nil {
				sent.bounces = max(sent.bounces, int(n))
			}
			return true
		}
		at := &sent.sealed
		switch name {
		case s.params.ID:
			at = &sent.id
		case s.params.Timestamp:
			at = &sent.timestamp
		}
		if err != nil || value == "" || *at != "" {
			sent.bad = true
		}
		*at = value
		return true
	})
	if (sent.id == "") != (sent.timestamp == "") {
		sent.bad = true
	}
	return strings.Join(kept, "&"), sent
}

// safe reports whether the method only reads.
func (v *visit) safe() bool { return v.r.Method == http.MethodGet || v.r.Method == http.MethodHead }

// allow answers 405 to a method that is not listed.
func (v *visit) allow(methods string) bool {
	for m := range strings.SplitSeq(methods, ", ") {
		if m == v.r.Method {
			return true
		}
	}
	v.w.Header().Set("Allow", methods)
	v.notice(http.StatusMethodNotAllowed, "Not like this", "This page does not answer to that method.")
	return false
}

// navigation reports whether a person will look at the answer, rather than a
// page's script or one of its parts.
func navigation(r *http.Request) bool {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" {
		return dest == "document"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// refuse is the one answer to every request without a session that counts: no
// token, an altered, unknown, spent, timed-out or closed one (D22). It leaves
// the browser's cookies alone, since a newer token may be on its way to them.
func (v *visit) refuse() {
	v.note("respond", "browser", "refused", errRefused)
	if navigation(v.r) {
		next := v.path
		if v.query != "" && len(v.query) < maxNext {
			next += "?" + v.query
		}
		v.see(http.StatusSeeOther, v.self.URL+LoginPath+"?next="+url.QueryEscape(next))
		return
	}
	v.w.Header().Set("WWW-Authenticate", `Session realm="farm"`)
	v.write(http.StatusUnauthorized, nil, []byte("Sign in first.\n"))
}

// maxNext bounds the query that a log-in leads back to.
const maxNext = 2 << 10

// fail is the answer where the session could not be judged: nothing is served
// (WF-10.1). A token that was already replaced still reaches the browser.
func (v *visit) fail(err error) {
	v.note("respond", "browser", "failed", err)
	v.setToken()
	v.w.Header().Set("Retry-After", "1")
	v.notice(http.StatusServiceUnavailable, "Just a moment", "Your session cannot be checked right now. Please try again shortly.")
}

func (v *visit) notFound() {
	v.notice(http.StatusNotFound, "No such page", "This farm has no page at that address.")
}

// respond answers an admitted request.
func (v *visit) respond(status int, contentType []string, body []byte) {
	v.prepare()
	if v.watched {
		v.note("respond", "browser", fmt.Sprintf("%d %s", status, v.path), nil)
	}
	v.write(status, contentType, body)
}

// prepare sets the new token, if there is one, on the answer.
func (v *visit) prepare() {
	v.setToken()
	v.point("before-respond")
}

func (v *visit) write(status int, contentType []string, body []byte) {
	h := v.w.Header()
	if contentType == nil {
		contentType = textPlain
	}
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(body)
	}
}

// see redirects. The body is the same whatever the address, and the same size.
func (v *visit) see(status int, to string) {
	v.w.Header().Set("Location", to)
	v.write(status, nil, seeLocation)
}

// form reads a form post within bounds; nil where it is none.
func (v *visit) form() url.Values {
	if !strings.HasPrefix(v.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return nil
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(http.MaxBytesReader(v.w, v.r.Body, maxForm)); err != nil {
		return nil
	}
	values, err := url.ParseQuery(b.String())
	if err != nil {
		return nil
	}
	return values
}

// maxForm bounds a posted form.
const maxForm = 16 << 10
