package simfarm

import (
	"context"
	"crypto/ecdsa"
	crand "crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference/oidc"
	"github.com/farmspec/farmspec/reference/saml"
	"github.com/farmspec/farmspec/reference/web"
)

// The messages that a judge has made: true ones, and ones with a flaw.

// Compose implements farmspec.FederationHook.
func (c *federation) Compose(_ context.Context, r farmspec.LogoutRequest) (farmspec.Delivery, error) {
	from, err := c.find(r.From)
	if err != nil {
		return farmspec.Delivery{}, fmt.Errorf("compose log-out request: %w", err)
	}
	to, err := c.find(r.To)
	if err != nil {
		return farmspec.Delivery{}, fmt.Errorf("compose log-out request: %w", err)
	}
	var d farmspec.Delivery
	if r.Channel == farmspec.OpenIDChannel {
		d, err = c.token(from, to, r)
	} else {
		d, err = c.samlRequest(from, to, r)
	}
	if err != nil {
		return farmspec.Delivery{}, fmt.Errorf("compose log-out request: %w", err)
	}
	return d, nil
}

func (c *federation) samlRequest(from, to *party, r farmspec.LogoutRequest) (farmspec.Delivery, error) {
	var b saml.Binding
	for binding, channel := range channels {
		if channel == r.Channel {
			b = binding
		}
	}
	if b == "" || r.User == "" {
		return farmspec.Delivery{}, farmspec.ErrNoHook
	}
	now := c.now().Truncate(time.Millisecond)
	m := saml.Message{
		Kind: saml.LogoutRequest, ID: "_" + crand.Text(), Issuer: from.url, Destination: to.logout, IssueInstant: now,
		NotOnOrAfter: now.Add(5 * time.Minute), Reason: saml.ByUser, NameID: r.User, SessionIndexes: r.Indexes,
	}
	key, change := from.key, func(e *etree.Element) *etree.Element { return e }
	switch r.Flaw {
	case "":
	case farmspec.Unsigned:
		change = unsigned
	case farmspec.ForeignKey:
		key = c.stranger
	case farmspec.OtherParty:
		key = c.other(from, to).key
	case farmspec.UnknownIssuer:
		m.Issuer, key = "https://nobody.example/", c.stranger
	case farmspec.Misdirected:
		m.Destination = c.other(from, to).logout
	case farmspec.Expired:
		m.IssueInstant, m.NotOnOrAfter = now.Add(-2*time.Minute), now.Add(-time.Minute)
	case farmspec.Stale:
		m.IssueInstant, m.NotOnOrAfter = now.Add(-24*time.Hour), now.Add(24*time.Hour)
	case farmspec.Changed:
		m.NameID, m.SessionIndexes = r.Bait, nil
		change = func(e *etree.Element) *etree.Element {
			e.FindElement(".//NameID").SetText(r.User)
			return e
		}
	case farmspec.Wrapped:
		m.NameID, m.SessionIndexes = r.Bait, nil
		change = func(e *etree.Element) *etree.Element { return wrapped(e, r.User) }
	case farmspec.DocType:
	default:
		return farmspec.Delivery{}, farmspec.ErrNoHook
	}
	w, err := saml.Seal(m, b, key)
	if err != nil {
		return farmspec.Delivery{}, err
	}
	w.URL = strings.Replace(w.URL, m.Destination, to.logout, 1) // wherever it says it goes
	if b == saml.Redirect {
		return redirected(w, m, r, to.logout)
	}
	raw := w.Body
	if b == saml.Post {
		if raw, err = base64.StdEncoding.DecodeString(w.Form.Get("SAMLRequest")); err != nil {
			return farmspec.Delivery{}, err
		}
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil {
		return farmspec.Delivery{}, err
	}
	message := doc.Root()
	if b == saml.SOAP {
		message = message.FindElement("./Body/LogoutRequest")
	}
	changed := change(message)
	if parent := message.Parent(); changed != message && parent != nil {
		parent.RemoveChild(message)
		parent.AddChild(changed)
	}
	if raw, err = doc.WriteToBytes(); err != nil {
		return farmspec.Delivery{}, err
	}
	if r.Flaw == farmspec.DocType {
		raw = append([]byte("<!DOCTYPE message [<!ENTITY who \""+r.User+"\">]>\n"), raw...)
	}
	d := farmspec.Delivery{Method: http.MethodPost, URL: to.logout, ContentType: "text/xml; charset=utf-8", Body: string(raw)}
	if b == saml.Post {
		d.ContentType = "application/x-www-form-urlencoded"
		d.Body = url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(raw)}}.Encode()
	}
	return d, nil
}

// redirected is a message by redirect, whose signature is in the query.
func redirected(w saml.Wire, m saml.Message, r farmspec.LogoutRequest, to string) (farmspec.Delivery, error) {
	switch r.Flaw {
	case farmspec.Unsigned:
		query, _, _ := strings.Cut(w.Query, "&SigAlg=")
		w.URL = to + "?" + query
	case farmspec.Changed:
		// The signature of the one message under the other.
		m.NameID = r.User
		other, err := saml.NewKey("nobody")
		if err != nil {
			return farmspec.Delivery{}, err
		}
		forged, err := saml.Seal(m, saml.Redirect, other)
		if err != nil {
			return farmspec.Delivery{}, err
		}
		query, _, _ := strings.Cut(forged.Query, "&Signature=")
		_, signature, _ := strings.Cut(w.Query, "&Signature=")
		w.URL = to + "?" + query + "&Signature=" + signature
	case farmspec.Wrapped, farmspec.DocType:
		return farmspec.Delivery{}, farmspec.ErrNoHook
	}
	return farmspec.Delivery{Method: http.MethodGet, URL: w.URL}, nil
}

func unsigned(e *etree.Element) *etree.Element {
	if s := e.FindElement("./Signature"); s != nil {
		e.RemoveChild(s)
	}
	return e
}

// wrapped puts a forged message about user around a true one: the signature
// moves to the outside and still fits what is inside.
func wrapped(e *etree.Element, user string) *etree.Element {
	forged := e.Copy()
	forged.CreateAttr("ID", "_forged"+e.SelectAttrValue("ID", ""))
	forged.FindElement("./NameID").SetText(user)
	inner := unsigned(e.Copy())
	extensions := etree.NewElement("samlp:Extensions")
	extensions.AddChild(inner)
	forged.InsertChildAt(2, extensions)
	return forged
}

// other is a party that is neither of the two.
func (c *federation) other(a, b *party) *party {
	for _, p := range c.sites {
		if p != a && p != b {
			return p
		}
	}
	return c.provider
}

// token makes a log-out token. Only the provider sends them.
func (c *federation) token(from, to *party, r farmspec.LogoutRequest) (farmspec.Delivery, error) {
	if from != c.provider || to == c.provider || len(r.Indexes) > 1 {
		return farmspec.Delivery{}, farmspec.ErrNoHook
	}
	key := from.key.Signer.(*ecdsa.PrivateKey)
	p := oidc.Provider{Issuer: from.url, Key: key, Now: c.now}
	session := ""
	if len(r.Indexes) == 1 {
		session = r.Indexes[0]
	}
	claims := p.Claims(to.url, r.User, session)
	switch r.Flaw {
	case "", farmspec.Unsigned, farmspec.Changed:
	case farmspec.ForeignKey:
		key = c.stranger.Signer.(*ecdsa.PrivateKey)
	case farmspec.OtherParty:
		key = c.other(from, to).key.Signer.(*ecdsa.PrivateKey)
	case farmspec.UnknownIssuer:
		claims.Issuer = "https://nobody.example/"
	case farmspec.Misdirected:
		claims.Audience = oidc.Audience{c.other(from, to).url}
	case farmspec.Expired:
		claims.IssuedAt, claims.Expiry = claims.IssuedAt-120, claims.IssuedAt-60
	case farmspec.Stale:
		claims.IssuedAt, claims.Expiry = claims.IssuedAt-86400, claims.Expiry+86400
	case farmspec.Untyped:
		claims.Type = "JWT"
	case farmspec.Eventless:
		claims.Events = nil
	case farmspec.WithNonce:
		claims.Nonce = json.RawMessage(`"of a log-in"`)
	case farmspec.Subjectless:
		claims.Subject, claims.Session = "", ""
	default:
		return farmspec.Delivery{}, farmspec.ErrNoHook
	}
	if r.Flaw == farmspec.Changed {
		claims.Subject, claims.Session = r.Bait, ""
	}
	token, err := oidc.Sign(claims, key)
	if err != nil {
		return farmspec.Delivery{}, err
	}
	switch parts := strings.Split(token, "."); r.Flaw {
	case farmspec.Unsigned:
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"` + oidc.Type + `"}`))
		token = header + "." + parts[1] + "."
	case farmspec.Changed:
		claims.Subject = r.User
		payload, err := json.Marshal(claims)
		if err != nil {
			return farmspec.Delivery{}, err
		}
		token = parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2]
	}
	address := to.url + "/backchannel-logout"
	if to == &c.farm {
		address = to.url + web.BackchannelPath
	}
	return farmspec.Delivery{
		Method: http.MethodPost, URL: address, ContentType: "application/x-www-form-urlencoded",
		Body: url.Values{"logout_token": {token}}.Encode(),
	}, nil
}
