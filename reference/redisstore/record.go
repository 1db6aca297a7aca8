package redisstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/farmspec/farmspec/reference"
)

// What is stored, byte by byte: lua/record.lua has the shape of a session,
// lua/savehttp.lua that of an HTTP session. Strings keep any bytes.

var errDamaged = errors.New("what is stored is damaged, or another program's")

// putInt appends a number so that bytes are in the order of numbers.
func putInt(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)^1<<63) }

func putToken(b []byte, t reference.Token) []byte { return putInt(append(b, t.ID[:]...), t.Timestamp) }

func putText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// reader takes apart what the put functions made. What is missing is damage.
type reader struct {
	rest    string
	damaged bool
}

func (r *reader) take(n int) string {
	if n > len(r.rest) {
		r.rest, r.damaged = "", true
		return string(make([]byte, n))
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) int() int64 { return int64(binary.BigEndian.Uint64([]byte(r.take(8))) ^ 1<<63) }

func (r *reader) id() (id reference.ID) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) token() reference.Token { return reference.Token{ID: r.id(), Timestamp: r.int()} }

func (r *reader) text() string {
	n := binary.BigEndian.Uint32([]byte(r.take(4)))
	if uint64(n) > uint64(len(r.rest)) {
		r.rest, r.damaged = "", true
		return ""
	}
	return r.take(int(n))
}

func (r *reader) err() error {
	if r.damaged {
		return errDamaged
	}
	return nil
}

// record is what is stored of a session that has no HTTP sessions yet.
func record(s *reference.SecuritySession) []byte {
	b := putToken(putToken(nil, s.Current), s.Previous)
	b = putInt(putInt(b, s.ClosedAt), s.AuthenticatedAt)
	return putText(putText(b, s.User), string(s.Reason))
}

// parseRecord reads a record, but for the applications at its end.
func parseRecord(ref reference.ID, rec string) (reference.SecuritySession, error) {
	r := reader{rest: rec}
	s := reference.SecuritySession{Ref: ref, Current: r.token(), Previous: r.token(), ClosedAt: r.int(), AuthenticatedAt: r.int()}
	s.User, s.Reason = r.text(), reference.Reason(r.text())
	return s, r.err()
}

// parseSession reads what lua/read.lua answers for one session.
func parseSession(answer any) (reference.SecuritySession, error) {
	var s reference.SecuritySession
	all, _ := answer.([]any)
	parts := make([]string, len(all))
	for i := range all {
		part, is := all[i].(string)
		if !is {
			return s, errDamaged
		}
		parts[i] = part
	}
	if len(parts) < 2 || len(parts)%3 != 2 {
		return s, errDamaged
	}
	var ref reference.ID
	copy(ref[:], parts[0])
	s, err := parseRecord(ref, parts[1])
	if err != nil {
		return s, err
	}
	for p := parts[2:]; len(p) > 0; p = p[3:] {
		h, err := parseHTTP(p[0], p[1], p[2])
		if err != nil {
			return s, err
		}
		s.HTTP = append(s.HTTP, h)
	}
	slices.SortFunc(s.HTTP, func(a, b reference.HTTPSession) int { return cmp.Compare(a.Application, b.Application) })
	return s, nil
}

// httpRecord is what is stored of an HTTP session beside its attributes.
func httpRecord(h *reference.HTTPSession) []byte {
	b := putInt(putInt(append([]byte(nil), h.ID[:]...), h.CreatedAt), h.LastAccess)
	return putInt(putInt(b, h.Idle), h.Version)
}

func parseHTTP(application, rec, attributes string) (reference.HTTPSession, error) {
	r := reader{rest: rec}
	h := reference.HTTPSession{ID: r.id(), Application: application,
		CreatedAt: r.int(), LastAccess: r.int(), Idle: r.int(), Version: r.int()}
	a := reader{rest: attributes}
	for a.rest != "" {
		if h.Attributes == nil {
			h.Attributes = make(map[string]string)
		}
		name := a.text()
		h.Attributes[name] = a.text()
	}
	return h, errors.Join(r.err(), a.err())
}

// encode is empty for no attributes.
func encode(attributes map[string]string) []byte {
	var b []byte
	for name, value := range attributes {
		b = putText(putText(b, name), value)
	}
	return b
}

// entry is what the index of session IDs holds for a token's ID: whose it is,
// and the token's timestamp.
func entry(ref reference.ID, t reference.Token) []byte {
	return putInt(append([]byte(nil), ref[:]...), t.Timestamp)
}

func parseEntry(s string) (ref reference.ID, at int64, err error) {
	r := reader{rest: s}
	ref, at = r.id(), r.int()
	return ref, at, r.err()
}

// member is a session's in the index of users; one user's begin alike.
func member(s *reference.SecuritySession) []byte {
	return append(putInt(putText(nil, s.User), s.AuthenticatedAt), s.Ref[:]...)
}

func parseMember(m string) (ref reference.ID, authenticatedAt int64, err error) {
	r := reader{rest: m}
	r.text()
	authenticatedAt, ref = r.int(), r.id()
	return ref, authenticatedAt, r.err()
}

// membersOf are the bounds of one user's members; of everybody's for "".
func membersOf(user string) (from, to string) {
	if user == "" {
		return "-", "+"
	}
	prefix := putText(nil, user)
	return "[" + string(prefix), "[" + string(prefix) + string(bytes.Repeat([]byte{0xff}, 25))
}
