package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"aidanwoods.dev/go-paseto"
	"github.com/alexedwards/scs/v2"
	"github.com/go-jose/go-jose/v4"
	"github.com/gorilla/securecookie"

	"github.com/farmspec/farmspec/simfarm/speed"
)

// A peer's token carries what ours does: 16 bytes of ID and 8 of time.
const tokenLen = 24

var errAltered = errors.New("another token came out")

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

// libraries are the peers that run in this process. Each seals and opens a
// token, or rotates one, as its documentation says.
func libraries() []speed.Case {
	return []speed.Case{
		// Encrypted and authenticated like ours; without a serializer of its
		// own and with the shortest keys it is at its fastest.
		{Name: "Peer/token=securecookie", Open: sealOpen(secureCookie(securecookie.NopEncoder{}, random(16)))},
		// Authenticated only: everybody can read it.
		{Name: "Peer/token=securecookie-readable", Open: sealOpen(secureCookie(securecookie.NopEncoder{}, nil))},
		{Name: "Peer/token=securecookie-default", Open: sealOpen(secureCookie(securecookie.GobEncoder{}, random(32)))},
		{Name: "Peer/token=jwe", Open: sealOpen(jwe)},
		{Name: "Peer/token=paseto", Open: sealOpen(pasetoV4)},
		{Name: "Peer/store=scs/callers=32", Open: scsRotation(32)},
	}
}

// pair is a peer's way to seal and to open.
type pair struct {
	seal func(token []byte) (string, error)
	open func(sealed string) ([]byte, error)
}

func sealOpen(of func() (pair, error)) func(context.Context) (speed.Work, error) {
	return func(context.Context) (speed.Work, error) {
		p, err := of()
		token, mine := random(tokenLen), make([]byte, tokenLen)
		return speed.Work{Do: speed.Concurrently(1, func(int) error {
			copy(mine, token) // securecookie encrypts in place what its NopEncoder hands on
			sealed, err := p.seal(mine)
			if err != nil {
				return err
			}
			got, err := p.open(sealed)
			if err == nil && string(got) != string(token) {
				err = errAltered
			}
			return err
		})}, err
	}
}

func secureCookie(s securecookie.Serializer, block []byte) func() (pair, error) {
	return func() (pair, error) {
		c := securecookie.New(random(32), block).SetSerializer(s)
		return pair{
			func(token []byte) (string, error) { return c.Encode("sid", token) },
			func(sealed string) (token []byte, err error) {
				err = c.Decode("sid", sealed, &token)
				return token, err
			},
		}, nil
	}
}

// jwe is compact, direct, A256GCM: the cipher that ours uses.
func jwe() (pair, error) {
	key := random(32)
	e, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: key}, nil)
	return pair{
		func(token []byte) (string, error) {
			o, err := e.Encrypt(token)
			if err != nil {
				return "", err
			}
			return o.CompactSerialize()
		},
		func(sealed string) ([]byte, error) {
			o, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256GCM})
			if err != nil {
				return nil, err
			}
			return o.Decrypt(key)
		},
	}, err
}

// pasetoV4 is v4.local, whose payload is JSON by definition, so the token is in hex.
func pasetoV4() (pair, error) {
	key := paseto.NewV4SymmetricKey()
	parser := paseto.NewParserWithoutExpiryCheck()
	return pair{
		func(token []byte) (string, error) {
			t := paseto.NewToken()
			t.SetString("sid", hex.EncodeToString(token))
			return t.V4Encrypt(key, nil), nil
		},
		func(sealed string) ([]byte, error) {
			t, err := parser.ParseV4Local(key, sealed, nil)
			if err != nil {
				return nil, err
			}
			sid, err := t.GetString("sid")
			if err != nil {
				return nil, err
			}
			return hex.DecodeString(sid)
		},
	}, nil
}

// scsRotation is what an application does with scs to find a session by its
// token, check it and give it a new token, over its memory store.
func scsRotation(callers int) func(context.Context) (speed.Work, error) {
	return func(ctx context.Context) (speed.Work, error) {
		m := scs.New()
		m.Lifetime = time.Hour
		tokens := make([]string, callers)
		for i := range tokens {
			fresh, err := m.Load(ctx, "")
			if err != nil {
				return speed.Work{}, err
			}
			m.Put(fresh, "user", "ada")
			if tokens[i], _, err = m.Commit(fresh); err != nil {
				return speed.Work{}, err
			}
		}
		return speed.Work{Do: speed.Concurrently(callers, func(caller int) error {
			loaded, err := m.Load(ctx, tokens[caller])
			if err != nil {
				return err
			}
			if m.GetString(loaded, "user") != "ada" {
				return errAltered
			}
			if err := m.RenewToken(loaded); err != nil {
				return err
			}
			tokens[caller], _, err = m.Commit(loaded)
			return err
		})}, nil
	}
}
