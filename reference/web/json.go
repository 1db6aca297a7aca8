package web

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/farmspec/farmspec/reference"
)

// The hot call, renew, has its JSON written and read here without reflection:
// the spelling that appendPresented writes is read back directly, every other
// one goes through decode and means the same.

const (
	openToken   = `{"token":{"id":"`
	midToken    = `","timestamp":`
	midHandedAt = `},"handed_off_at":`
)

func appendToken(dst []byte, t reference.Token) []byte {
	dst = append(dst, openToken...)
	dst = hex.AppendEncode(dst, t.ID[:])
	dst = append(dst, midToken...)
	return strconv.AppendInt(dst, t.Timestamp, 10)
}

func appendPresented(dst []byte, p reference.Presented) []byte {
	dst = appendToken(dst, p.Token)
	if p.HandedOffAt != 0 {
		dst = append(dst, midHandedAt...)
		dst = strconv.AppendInt(dst, p.HandedOffAt, 10)
		return append(dst, '}')
	}
	return append(dst, "}}"...)
}

func appendGrant(dst []byte, g reference.Grant) []byte {
	dst = appendToken(dst, g.Token)
	dst = append(dst, `},"session":"`...)
	dst = hex.AppendEncode(dst, g.Session[:])
	dst = append(dst, `","user":`...)
	user, err := json.Marshal(g.User)
	if err != nil { // no string fails
		user = []byte(`""`)
	}
	dst = append(dst, user...)
	return append(dst, '}')
}

func decodePresented(body []byte) (reference.Presented, error) {
	if p, ok := scanPresented(body); ok {
		return p, nil
	}
	var p reference.Presented
	err := decode(body, &p, "token", "token.id", "token.timestamp")
	return p, err
}

// scanPresented reads what appendPresented writes; false for anything else.
func scanPresented(b []byte) (p reference.Presented, ok bool) {
	if b, ok = bytes.CutPrefix(b, []byte(openToken)); !ok || len(b) < 32 {
		return p, false
	}
	for _, c := range b[:32] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return p, false
		}
	}
	if _, err := hex.Decode(p.Token.ID[:], b[:32]); err != nil {
		return p, false
	}
	if b, ok = bytes.CutPrefix(b[32:], []byte(midToken)); !ok {
		return p, false
	}
	if p.Token.Timestamp, b, ok = scanInt(b); !ok {
		return p, false
	}
	if string(b) == "}}" {
		return p, true
	}
	if b, ok = bytes.CutPrefix(b, []byte(midHandedAt)); !ok {
		return p, false
	}
	p.HandedOffAt, b, ok = scanInt(b)
	return p, ok && string(b) == "}"
}

// scanInt reads a JSON integer of at most 18 digits, without sign, and returns what follows.
func scanInt(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && i < 19 && '0' <= b[i] && b[i] <= '9'; i++ {
		n = 10*n + int64(b[i]-'0')
	}
	return n, b[i:], i > 0 && i < 19 && (b[0] != '0' || i == 1)
}
