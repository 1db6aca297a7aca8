package reference

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

// ErrSealed is the one answer to whatever does not open: wrong length, wrong
// alphabet, unknown key or version, altered bytes, another purpose, another
// audience. It never says which.
var ErrSealed = errors.New("sealed token does not open")

// Codec seals tokens for the browser and for the hand-off between servers,
// and opens them again (claims 1 and 2). It is AES-256-GCM under the keys of a
// ring. What it seals for one purpose or audience opens for no other.
//
// A sealed token is unpadded base64url of
//
//	version 1 | key ID 1 | nonce 12 | ciphertext 24 or 30 | tag 16
//
// which is 72 characters for a cookie and 80 for a hand-off, without spare
// bits: each sealed token has exactly one accepted spelling. The plain text is
// the ID, the timestamp (big-endian) and, in a hand-off, the instant of
// sealing (48 bits, big-endian). Version, key ID, purpose and audience are
// associated data.
//
// Nonces are random, so a key should seal well under 2^32 tokens (NIST SP
// 800-38D section 8.3) before another takes over. A Codec is safe for
// concurrent use.
type Codec struct {
	ring *KeyRing
	rand io.Reader
}

// The sizes of what a Codec makes.
const (
	// SealedLen is the length of a sealed cookie token in characters.
	SealedLen = 72
	// SealedHandoffLen is the length of a sealed hand-off in characters.
	SealedHandoffLen = 80

	frameVersion = 1
	headerLen    = 2 // version and key ID
	nonceLen     = 12
	tokenLen     = 24
	instantLen   = 6
	tagLen       = 16

	maxInstant = 1<<(8*instantLen) - 1
)

// A purpose is part of the associated data.
type purpose byte

const (
	forCookie  purpose = 'c'
	forHandoff purpose = 'h'
)

// NewCodec returns a codec over the ring's keys. It reads nonces from rand,
// which is crypto/rand.Reader outside of tests.
func NewCodec(ring *KeyRing, rand io.Reader) *Codec { return &Codec{ring: ring, rand: rand} }

// Cipher names what tokens are sealed with.
func (c *Codec) Cipher() string { return "AES-256-GCM" }

// Seal seals a token for the browser. Sealing twice gives two different texts.
// It fails where the ring is empty or the random source fails.
func (c *Codec) Seal(t Token) (string, error) {
	var b [SealedLen]byte
	out, err := c.AppendSeal(b[:0], t)
	return string(out), err
}

// AppendSeal is Seal, appended to dst. It allocates nothing where dst has
// room for SealedLen more. On an error it returns dst as it was.
func (c *Codec) AppendSeal(dst []byte, t Token) ([]byte, error) {
	k := c.ring.sealing()
	if k == nil {
		return dst, errNoKey
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	return c.seal(dst, s, k, putToken(s, t), k.cookieData[:])
}

// Open opens what Seal made. It allocates nothing on success. The error is
// ErrSealed.
func (c *Codec) Open(sealed string) (Token, error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	k, frame := c.frame(s, sealed, SealedLen)
	if k == nil {
		return Token{}, ErrSealed
	}
	plain, err := k.aead.Open(s.plain[:0], frame[headerLen:headerLen+nonceLen], frame[headerLen+nonceLen:], k.cookieData[:])
	if err != nil {
		return Token{}, ErrSealed
	}
	return token(plain), nil
}

// SealHandoff seals a token for one receiving server, the audience, with the
// instant of sealing in milliseconds since 1970 by the session service's clock.
func (c *Codec) SealHandoff(audience string, t Token, at int64) (string, error) {
	k := c.ring.sealing()
	if k == nil {
		return "", errNoKey
	}
	if at < 0 || at > maxInstant {
		return "", fmt.Errorf("seal hand-off: instant %d is not within 48 bits", at)
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	plain := putToken(s, t)
	var instant [8]byte
	binary.BigEndian.PutUint64(instant[:], uint64(at))
	plain = append(plain, instant[8-instantLen:]...)
	out, err := c.seal(nil, s, k, plain, k.data(forHandoff, audience))
	return string(out), err
}

// OpenHandoff opens what SealHandoff made for the audience and returns the
// instant of sealing too. The error is ErrSealed. Whether the hand-off is too
// old is the service's to say (see Presented).
func (c *Codec) OpenHandoff(audience, sealed string) (t Token, at int64, err error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	k, frame := c.frame(s, sealed, SealedHandoffLen)
	if k == nil {
		return Token{}, 0, ErrSealed
	}
	plain, err := k.aead.Open(s.plain[:0], frame[headerLen:headerLen+nonceLen], frame[headerLen+nonceLen:], k.data(forHandoff, audience))
	if err != nil {
		return Token{}, 0, ErrSealed
	}
	var instant [8]byte
	copy(instant[8-instantLen:], plain[tokenLen:])
	return token(plain), int64(binary.BigEndian.Uint64(instant[:])), nil
}

// scratch is the working memory of one call. What is handed to a cipher
// through its interface would otherwise be allocated each time.
type scratch struct {
	plain [tokenLen + instantLen]byte
	frame [headerLen + nonceLen + tokenLen + instantLen + tagLen]byte
	text  [SealedHandoffLen]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

var errNoKey = errors.New("seal token: the key ring has no key")

func putToken(s *scratch, t Token) []byte {
	copy(s.plain[:], t.ID[:])
	binary.BigEndian.PutUint64(s.plain[len(t.ID):], uint64(t.Timestamp))
	return s.plain[:tokenLen]
}

func token(plain []byte) (t Token) {
	copy(t.ID[:], plain)
	t.Timestamp = int64(binary.BigEndian.Uint64(plain[len(t.ID):]))
	return t
}

func (c *Codec) seal(dst []byte, s *scratch, k *ringKey, plain, data []byte) ([]byte, error) {
	frame := append(s.frame[:0], frameVersion, k.id)
	nonce := s.frame[headerLen : headerLen+nonceLen]
	if _, err := io.ReadFull(c.rand, nonce); err != nil {
		return dst, fmt.Errorf("seal token: draw nonce: %w", err)
	}
	frame = k.aead.Seal(frame[:headerLen+nonceLen], nonce, plain, data)
	return spelling.AppendEncode(dst, frame), nil
}

var spelling = base64.RawURLEncoding.Strict()

// frame decodes the text and finds its key; nil where there is none.
func (c *Codec) frame(s *scratch, sealed string, want int) (*ringKey, []byte) {
	if len(sealed) != want {
		return nil, nil
	}
	// The decoder skips line breaks, so the decoded length has to be full too:
	// that is what leaves a single spelling.
	n, err := spelling.Decode(s.frame[:], s.text[:copy(s.text[:], sealed)])
	if err != nil || n != spelling.DecodedLen(want) || s.frame[0] != frameVersion {
		return nil, nil
	}
	return c.ring.opening(s.frame[1]), s.frame[:n]
}

// Key is one key of a ring. It prints as its ID; the secret reaches no log.
type Key struct {
	// ID travels in clear with every sealed token and names the key.
	ID byte
	// Secret is 256 random bits.
	Secret [32]byte
}

// NewKey draws a key from rand, which is crypto/rand.Reader outside of tests.
func NewKey(id byte, rand io.Reader) (Key, error) {
	k := Key{ID: id}
	if _, err := io.ReadFull(rand, k.Secret[:]); err != nil {
		return Key{}, fmt.Errorf("draw key %d: %w", id, err)
	}
	return k, nil
}

// String names the key without its secret.
func (k Key) String() string { return fmt.Sprintf("key %d", k.ID) }

// Format makes every verb, %#v and %x included, show what String shows.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue shows what String shows.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText gives what String shows: a key is not to be serialized by chance.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// KeyRing holds the keys of a farm by ID: one seals, all open. To change keys
// without breaking a hop, Add the new key on every server, then Use it on
// every server, and Retire the old one when the last token under it has timed
// out. A KeyRing is safe for concurrent use; its readers take no lock.
type KeyRing struct {
	mu    sync.Mutex // held by writers
	state atomic.Pointer[ringState]
}

type ringState struct {
	sealing *ringKey
	keys    [256]*ringKey
}

type ringKey struct {
	id         byte
	aead       cipher.AEAD
	cookieData [3]byte
}

// data is the associated data. Its first three bytes are of fixed size, so no
// two (purpose, audience) pairs share one.
func (k *ringKey) data(p purpose, audience string) []byte {
	return append([]byte{frameVersion, k.id, byte(p)}, audience...)
}

// NewKeyRing returns a ring of the keys, of which the first seals.
func NewKeyRing(keys ...Key) *KeyRing {
	r := new(KeyRing)
	r.state.Store(new(ringState))
	for _, k := range keys {
		r.Add(k)
	}
	return r
}

// Add brings in a key that opens and does not seal yet, unless it is the
// ring's first. It takes the place of a key of the same ID.
func (r *KeyRing) Add(k Key) {
	block, err := aes.NewCipher(k.Secret[:])
	if err != nil {
		panic("reference: AES-256 refuses a 32-byte key: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("reference: no GCM over AES: " + err.Error())
	}
	added := &ringKey{id: k.ID, aead: aead}
	copy(added.cookieData[:], added.data(forCookie, ""))
	r.edit(func(s *ringState) {
		s.keys[k.ID] = added
		if s.sealing == nil || s.sealing.id == k.ID {
			s.sealing = added
		}
	})
}

// Use makes the key of that ID the one that seals from now on.
func (r *KeyRing) Use(id byte) error {
	var err error
	r.edit(func(s *ringState) {
		if s.keys[id] == nil {
			err = fmt.Errorf("use key %d: not in the ring", id)
			return
		}
		s.sealing = s.keys[id]
	})
	return err
}

// Retire removes a key: what it sealed opens no more. The key that seals
// cannot be retired, and to retire an absent one is no error.
func (r *KeyRing) Retire(id byte) error {
	var err error
	r.edit(func(s *ringState) {
		if s.sealing != nil && s.sealing.id == id {
			err = fmt.Errorf("retire key %d: it is the one that seals", id)
			return
		}
		s.keys[id] = nil
	})
	return err
}

func (r *KeyRing) edit(f func(*ringState)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.state.Load()
	f(&next)
	r.state.Store(&next)
}

func (r *KeyRing) sealing() *ringKey        { return r.state.Load().sealing }
func (r *KeyRing) opening(id byte) *ringKey { return r.state.Load().keys[id] }
