package redisstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/farmspec/farmspec/reference"
)

// Store is a reference.Store and reference.Editor on Redis. It is safe for
// concurrent use, also by several processes.
type Store struct {
	client  redis.UniversalClient
	about   string // the address without credentials, and what Open saw
	format  string // the key that says whose the keys are
	parts   []part
	closing sync.Once
}

var (
	_ reference.Store  = (*Store)(nil)
	_ reference.Editor = (*Store)(nil)
)

// part is the keys of one hash tag, which a script may use together.
type part struct {
	ids        string // hash: session ID to reference and timestamp
	sessions   string // hash: reference to record
	http       string // hash: reference and application to HTTP session
	attributes string // the same, to its attributes
	users      string // sorted set of one score: user, log-in and reference
	disabled   string // set of users
}

// of returns the part to which a key's bytes belong.
func (s *Store) of(key string) *part {
	return &s.parts[crc32.ChecksumIEEE([]byte(key))%uint32(len(s.parts))]
}

func (s *Store) ofID(id reference.ID) *part { return s.of(string(id[:])) }

// whole reports whether all keys are one part, so that a script may do all.
func (s *Store) whole() bool { return len(s.parts) == 1 }

func (p *part) session() []string { return []string{p.sessions, p.http, p.attributes} }

//go:embed lua/*.lua
var sources embed.FS

// script is a Lua script and the digest by which the server knows it.
type script struct{ text, digest string }

var (
	createScript     = load("create")
	readScript       = load("read")
	replaceScript    = load("replace")
	closeScript      = load("close")
	openHTTPScript   = load("openhttp")
	saveHTTPScript   = load("savehttp")
	endHTTPScript    = load("endhttp")
	setCurrentScript = load("setcurrent")
)

func load(name string) script {
	common, err := sources.ReadFile("lua/record.lua")
	own, err2 := sources.ReadFile("lua/" + name + ".lua")
	if err := errors.Join(err, err2); err != nil {
		panic(err) // they are part of the program
	}
	text := string(common) + string(own)
	return script{text, redis.NewScript(text).Hash()}
}

// refusals are the answers of scripts that stand for errors.
var refusals = map[string]error{
	"unknown":  reference.ErrUnknown,
	"closed":   reference.ErrClosed,
	"spent":    reference.ErrSpent,
	"mismatch": reference.ErrMismatch,
	"conflict": reference.ErrConflict,

	"ID taken":        errors.New("the session ID is taken"),
	"reference taken": errors.New("the reference is taken"),
}

// run runs a script: one round trip where the server knows it. An error that
// is none of refusals leaves open whether it ran.
func (s *Store) run(ctx context.Context, sc script, keys []string, args ...any) (answer []any, err error) {
	call := make([]any, 0, 3+len(keys)+len(args))
	call = append(call, "evalsha", sc.digest, len(keys))
	for _, k := range keys {
		call = append(call, k)
	}
	call = append(call, args...)
	reply, err := s.do(ctx, call...)
	if redis.HasErrorPrefix(err, "NOSCRIPT") { // so it has not run
		call[0], call[1] = "eval", sc.text
		reply, err = s.do(ctx, call...)
	}
	if err != nil {
		return nil, err
	}
	answer, _ = reply.([]any)
	if len(answer) == 0 {
		return nil, errDamaged
	}
	status, _ := answer[0].(string)
	if err := refusals[status]; err != nil {
		return nil, err
	}
	return answer, nil
}

// do sends one command, once, and returns its answer, nil for none.
func (s *Store) do(ctx context.Context, args ...any) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := once{redis.NewCmd(ctx, args...)}
	if err := s.client.Process(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	return cmd.Val(), nil
}

// once is a command that is never sent again after a failure, by any client: a
// replacement that happened and whose answer was lost would be answered
// "spent" to the very caller that has won.
type once struct{ *redis.Cmd }

// NoRetry tells the client.
func (once) NoRetry() bool { return true }

// yes reports whether a command's answer counts one.
func yes(answer any, err error) (bool, error) {
	n, _ := answer.(int64)
	return n > 0, err
}

// Create implements reference.Store.
func (s *Store) Create(ctx context.Context, sess reference.SecuritySession) error {
	p, rec := s.ofID(sess.Ref), record(&sess)
	if s.whole() {
		_, err := s.run(ctx, createScript, []string{p.sessions, p.ids, p.users},
			sess.Ref[:], rec, sess.Current.ID[:], entry(sess.Ref, sess.Current), member(&sess))
		return said("create session", err)
	}
	// The record comes last: until then there is no session, and what leads
	// to one leads nowhere.
	if err := s.claim(ctx, sess.Ref, sess.Current); err != nil {
		return said("create session", err)
	}
	users := s.of(sess.User).users
	added, err := yes(s.do(ctx, "zadd", users, 0, member(&sess)))
	if err != nil {
		return said("create session", err)
	}
	_, err = s.run(ctx, createScript, []string{p.sessions}, sess.Ref[:], rec)
	if taken(err) {
		err = errors.Join(err, s.release(ctx, sess.Current.ID))
		if added {
			_, failed := s.do(ctx, "zrem", users, member(&sess))
			err = errors.Join(err, failed)
		}
	}
	return said("create session", err)
}

func taken(err error) bool { return errors.Is(err, refusals["reference taken"]) }

// claim makes the token's ID lead to the session, if it leads nowhere.
func (s *Store) claim(ctx context.Context, ref reference.ID, t reference.Token) error {
	claimed, err := yes(s.do(ctx, "hsetnx", s.ofID(t.ID).ids, t.ID[:], entry(ref, t)))
	if err == nil && !claimed {
		err = refusals["ID taken"]
	}
	return err
}

// release takes back a claim of ours that was for nothing.
func (s *Store) release(ctx context.Context, id reference.ID) error {
	_, err := s.do(context.WithoutCancel(ctx), "hdel", s.ofID(id).ids, id[:])
	return err
}

// lookup returns where the session ID leads.
func (s *Store) lookup(ctx context.Context, id reference.ID) (reference.ID, error) {
	answer, err := s.do(ctx, "hget", s.ofID(id).ids, id[:])
	if err != nil {
		return reference.ID{}, err
	}
	e, found := answer.(string)
	if !found {
		return reference.ID{}, reference.ErrUnknown
	}
	ref, _, err := parseEntry(e)
	return ref, err
}

// Find implements reference.Store.
func (s *Store) Find(ctx context.Context, id reference.ID) (reference.SecuritySession, error) {
	if s.whole() {
		p := &s.parts[0]
		return s.one(ctx, append(p.session(), p.ids), id)
	}
	ref, err := s.lookup(ctx, id)
	if err != nil {
		return reference.SecuritySession{}, said("find session", err)
	}
	return s.Load(ctx, ref)
}

// Load implements reference.Store.
func (s *Store) Load(ctx context.Context, ref reference.ID) (reference.SecuritySession, error) {
	return s.one(ctx, s.ofID(ref).session(), ref)
}

func (s *Store) one(ctx context.Context, keys []string, by reference.ID) (reference.SecuritySession, error) {
	answer, err := s.run(ctx, readScript, keys, by[:])
	if err != nil {
		return reference.SecuritySession{}, said("find session", err)
	}
	if len(answer) == 1 {
		return reference.SecuritySession{}, reference.ErrUnknown
	}
	sess, err := parseSession(answer[1])
	return sess, said("read session", err)
}

// Replace implements reference.Store.
func (s *Store) Replace(ctx context.Context, old, next reference.Token) error {
	return said("replace token", s.replace(ctx, old, next))
}

func (s *Store) replace(ctx context.Context, old, next reference.Token) error {
	was, will := putToken(nil, old), putToken(nil, next)
	if s.whole() {
		p := &s.parts[0]
		_, err := s.run(ctx, replaceScript, []string{p.sessions, p.ids}, was, will)
		return err
	}
	ref, err := s.lookup(ctx, old.ID)
	if err != nil {
		return err
	}
	// The new ID leads to the session before it is current, so that a current
	// one always does; the record alone decides who has replaced.
	if err := s.claim(ctx, ref, next); err != nil {
		return err
	}
	_, err = s.run(ctx, replaceScript, []string{s.ofID(ref).sessions}, was, will, ref[:])
	for _, refused := range refusals {
		if errors.Is(err, refused) {
			return errors.Join(err, s.release(ctx, next.ID))
		}
	}
	return err
}

// CloseSession implements reference.Store.
func (s *Store) CloseSession(ctx context.Context, ref reference.ID, why reference.Reason, at int64) (bool, error) {
	// Zero would mean open.
	_, err := s.run(ctx, closeScript, s.ofID(ref).session(), ref[:], string(why), putInt(nil, max(at, 1)))
	if errors.Is(err, reference.ErrClosed) {
		return false, nil
	}
	return err == nil, said("close session", err)
}

// OpenHTTP implements reference.Store.
func (s *Store) OpenHTTP(ctx context.Context, ref reference.ID, h reference.HTTPSession) (got reference.HTTPSession, created bool, err error) {
	attributes := encode(h.Attributes)
	answer, err := s.run(ctx, openHTTPScript, s.ofID(ref).session(), ref[:], h.Application, httpRecord(&h), attributes)
	if err != nil {
		return reference.HTTPSession{}, false, said("open HTTP session", err)
	}
	rec, stored := string(httpRecord(&h)), string(attributes)
	if created = len(answer) == 1; !created {
		rec, _ = answer[1].(string)
		stored, _ = answer[2].(string)
	}
	got, err = parseHTTP(h.Application, rec, stored)
	return got, created, said("read HTTP session", err)
}

// SaveHTTP implements reference.Store.
func (s *Store) SaveHTTP(ctx context.Context, ref reference.ID, application string, version int64, attributes map[string]string, at int64) error {
	args := []any{ref[:], application, putInt(nil, at)}
	if attributes != nil {
		args = append(args, putInt(nil, version), putInt(nil, version+1), encode(attributes))
	}
	_, err := s.run(ctx, saveHTTPScript, s.ofID(ref).session(), args...)
	return said("save HTTP session", err)
}

// EndHTTP implements reference.Store.
func (s *Store) EndHTTP(ctx context.Context, ref reference.ID, application string, _ reference.Reason, at int64) (bool, error) {
	answer, err := s.run(ctx, endHTTPScript, s.ofID(ref).session(), ref[:], application,
		string(reference.ByLastHTTP), putInt(nil, max(at, 1)))
	return err == nil && answer[0] == "last", said("end HTTP session", err)
}

// SetDisabled implements reference.Store.
func (s *Store) SetDisabled(ctx context.Context, user string, disabled bool) error {
	how := "srem"
	if disabled {
		how = "sadd"
	}
	_, err := s.do(ctx, how, s.of(user).disabled, user)
	return said("mark user", err)
}

// Disabled implements reference.Store.
func (s *Store) Disabled(ctx context.Context, user string) (bool, error) {
	is, err := yes(s.do(ctx, "sismember", s.of(user).disabled, user))
	return is, said("look up user", err)
}

// Close closes the connections. Later calls fail; a second Close does nothing.
func (s *Store) Close() (err error) {
	s.closing.Do(func() { err = said("close connections to session database", s.client.Close()) })
	return err
}

// String says where the store is, without credentials, and how durable the
// server was set up to be when the store was opened.
func (s *Store) String() string { return s.about }

func said(action string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}
