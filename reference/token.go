// Package reference is the session management of the reference farm: the
// session token and its codec, the session management service with its token
// generator and validation component, security sessions and the HTTP sessions
// mapped to them, and the contract of the common session database.
//
// The rotating token identifies the security session; each application's HTTP
// session hangs under it and survives rotation (requirements D16).
package reference

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// ID is a session ID, an HTTP session's ID or a security session's reference:
// 128 random bits (claims 3 and 5; ASVS 7.2.3).
type ID [16]byte

// String is the ID in lower-case hex. An ID inside a Token is secret: print
// the token instead.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the ID was never drawn.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText and UnmarshalText give the form of String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText accepts exactly the 32 lower-case hex digits that String prints.
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// ParseID reads what String prints, in that one spelling.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("parse ID: want %d hex digits, got %d characters", 2*len(id), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id.String() != s {
		return ID{}, fmt.Errorf("parse ID: want lower-case hex digits")
	}
	return id, nil
}

// NewID draws an ID from r, which is crypto/rand.Reader outside of tests.
func NewID(r io.Reader) (id ID, err error) {
	if r == rand.Reader {
		_, _ = rand.Read(id[:]) // it never fails
		return id, nil
	}
	var drawn ID // r, being unknown, makes it escape
	if _, err := io.ReadFull(r, drawn[:]); err != nil {
		return ID{}, fmt.Errorf("draw session ID: %w", err)
	}
	return drawn, nil
}

// Token is a session token: a session ID and a timestamp (claims 3 and 5).
// The zero Token was never issued.
type Token struct {
	ID ID `json:"id"`
	// Timestamp is in milliseconds since 1970, by the session service's
	// clock and never a web server's (claim 15).
	Timestamp int64 `json:"timestamp"`
}

// SameAs compares both parts, in constant time (claim 6).
func (t Token) SameAs(o Token) bool {
	differ := binary.NativeEndian.Uint64(t.ID[:8]) ^ binary.NativeEndian.Uint64(o.ID[:8])
	differ |= binary.NativeEndian.Uint64(t.ID[8:]) ^ binary.NativeEndian.Uint64(o.ID[8:])
	differ |= uint64(t.Timestamp ^ o.Timestamp)
	return differ == 0
}

// IsZero reports whether t is the zero Token.
func (t Token) IsZero() bool { return t == Token{} }

// String shows a digest: a token never reaches a log or an error in clear.
func (t Token) String() string {
	sum := sha256.Sum256(append(t.ID[:], fmt.Sprint(t.Timestamp)...))
	return "token#" + base64.RawURLEncoding.EncodeToString(sum[:6])
}

// Format makes every verb, %#v and %x included, show what String shows.
func (t Token) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, t.String()) }

// LogValue shows what String shows.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }
