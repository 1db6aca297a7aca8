// Package oidc is OpenID Connect Back-Channel Logout 1.0: the provider that
// sends log-out tokens and the relying party that receives them. Sections are
// those of that specification.
package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Event is the member of the events claim that makes a token a log-out token
// (2.4).
const Event = "http://schemas.openid.net/event/backchannel-logout"

// Type is the typ header of a log-out token (2.4, RFC 8725 section 3.11).
const Type = "logout+jwt"

// What is wrong with a log-out token. The sender is told only that it failed.
var (
	ErrToken     = errors.New("log-out token is malformed")
	ErrSignature = errors.New("log-out token is not signed by the provider")
	ErrClaims    = errors.New("log-out token's claims do not fit")
	ErrReplayed  = errors.New("log-out token was received before")
)

// Life is how long a token is good from its issue (2.4 recommends two minutes
// at most), and skew how far two clocks may differ.
const (
	Life = 2 * time.Minute
	skew = 30 * time.Second
)

// maxToken bounds a token.
const maxToken = 8 << 10

// Claims are those of a log-out token (2.4).
type Claims struct {
	Issuer   string                     `json:"iss"`
	Subject  string                     `json:"sub,omitempty"`
	Session  string                     `json:"sid,omitempty"`
	Audience Audience                   `json:"aud"`
	IssuedAt int64                      `json:"iat"`
	Expiry   int64                      `json:"exp"`
	ID       string                     `json:"jti"`
	Events   map[string]json.RawMessage `json:"events,omitempty"`
	// Nonce must be absent, so that an ID token never stands for a log-out token.
	Nonce json.RawMessage `json:"nonce,omitempty"`

	// Type is the typ header.
	Type string `json:"-"`
}

// Audience is one client or several.
type Audience []string

// UnmarshalJSON takes a string or a list of strings.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Provider sends log-out tokens. It is safe for concurrent use.
type Provider struct {
	// Issuer identifies the provider.
	Issuer string
	// Key signs: an ECDSA P-256 key.
	Key *ecdsa.PrivateKey
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Transport reaches the relying parties. Nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// Claims are those of a new token for a client. Subject, session or both are
// given.
func (p *Provider) Claims(client, subject, session string) Claims {
	now := time.Now()
	if p.Now != nil {
		now = p.Now()
	}
	return Claims{
		Issuer: p.Issuer, Subject: subject, Session: session, Audience: Audience{client}, IssuedAt: now.Unix(), Expiry: now.Add(Life).Unix(),
		ID: rand.Text(), Events: map[string]json.RawMessage{Event: json.RawMessage("{}")}, Type: Type,
	}
}

// Sign makes a token of claims.
func Sign(c Claims, key *ecdsa.PrivateKey) (string, error) {
	o := new(jose.SignerOptions)
	if c.Type != "" {
		o = o.WithType(jose.ContentType(c.Type))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, o)
	if err != nil {
		return "", fmt.Errorf("sign log-out token: %w", err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("sign log-out token: %w", err)
	}
	s, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign log-out token: %w", err)
	}
	return s.CompactSerialize()
}

// Notify tells a client at its back-channel address of a log-out (2.5). Any
// answer but 200 or 204 means that it has not confirmed it (2.8).
func (p *Provider) Notify(ctx context.Context, address, client, subject, session string) error {
	token, err := Sign(p.Claims(client, subject, session), p.Key)
	if err != nil {
		return err
	}
	body := strings.NewReader(url.Values{"logout_token": {token}}.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return fmt.Errorf("tell %s of a log-out: %w", client, err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rt := p.Transport
	if rt == nil {
		rt = http.DefaultTransport
	}
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("tell %s of a log-out: %w", client, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("tell %s of a log-out: it answered %d", client, resp.StatusCode)
	}
	return nil
}

// Receiver is a relying party's side. Issuer, Client, Key and Once are
// required. It is safe for concurrent use.
type Receiver struct {
	// Issuer and Key are the provider's, Client the relying party's own identifier.
	Issuer, Client string
	Key            crypto.PublicKey
	// Once remembers a token's ID until then and reports whether it is new.
	Once func(id string, now, until time.Time) bool
	// Read reads a token and verifies its signature. Nil means the function Read.
	Read func(token string, key crypto.PublicKey) (Claims, error)
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Read returns the claims of a token that key has signed with ES256; there is
// no other algorithm, "none" least of all.
func Read(token string, key crypto.PublicKey) (Claims, error) {
	if len(token) > maxToken {
		return Claims{}, ErrToken
	}
	s, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	payload, err := s.Verify(key)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}, fmt.Errorf("%w: claims", ErrToken)
	}
	c.Type, _ = s.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(string)
	return c, nil
}

// Receive judges a token as 2.6 says and returns its claims: whose session is
// to end is for the caller to find. Each token is good once.
func (r *Receiver) Receive(token string) (Claims, error) {
	read, now := r.Read, time.Now()
	if read == nil {
		read = Read
	}
	if r.Now != nil {
		now = r.Now()
	}
	c, err := read(token, r.Key)
	if err != nil {
		return Claims{}, fmt.Errorf("receive log-out token: %w", err)
	}
	issued, expiry := time.Unix(c.IssuedAt, 0), time.Unix(c.Expiry, 0)
	var event map[string]json.RawMessage
	why := ""
	switch {
	case !strings.EqualFold(strings.TrimPrefix(c.Type, "application/"), Type):
		why = "type"
	case c.Issuer != r.Issuer:
		why = "issuer"
	case !slices.Contains(c.Audience, r.Client):
		why = "audience"
	case c.IssuedAt == 0 || issued.After(now.Add(skew)) || now.Sub(issued) > Life+skew:
		why = "time of issue"
	case c.Expiry == 0 || !now.Before(expiry.Add(skew)):
		why = "expiry"
	case c.Subject == "" && c.Session == "":
		why = "neither subject nor session"
	case json.Unmarshal(c.Events[Event], &event) != nil || event == nil:
		why = "event"
	case len(c.Nonce) > 0:
		why = "nonce"
	case c.ID == "":
		why = "ID"
	}
	if why != "" {
		return Claims{}, fmt.Errorf("receive log-out token: %w: %s", ErrClaims, why)
	}
	if !r.Once("jti:"+c.ID, now, issued.Add(Life+2*skew)) {
		return Claims{}, fmt.Errorf("receive log-out token: %w", ErrReplayed)
	}
	return c, nil
}
