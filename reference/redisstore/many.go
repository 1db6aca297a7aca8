package redisstore

import (
	"context"
	"errors"
	"slices"

	"github.com/farmspec/farmspec/reference"
)

// What goes over many sessions does so in pages, so that the server, which
// does one thing at a time, is never held for long.
const page = 256

// List implements reference.Store. Each session is as it was at an instant
// during the call; not all of them at the same.
func (s *Store) List(ctx context.Context, user string) ([]reference.SecuritySession, error) {
	parts := s.parts
	if user != "" {
		parts = []part{*s.of(user)}
	}
	var list []reference.SecuritySession
	for _, p := range parts {
		err := s.members(ctx, &p, user, func(refs []reference.ID, _ []string) error {
			return s.eachPart(refs, func(p *part, refs []any) error {
				answer, err := s.run(ctx, readScript, p.session(), refs...)
				if err != nil {
					return err
				}
				for _, one := range answer[1:] {
					sess, err := parseSession(one)
					if err != nil {
						return err
					}
					list = append(list, sess)
				}
				return nil
			})
		})
		if err != nil {
			return nil, said("list sessions", err)
		}
	}
	slices.SortFunc(list, reference.InOrder)
	return list, nil
}

// members calls fn with the sessions of a user, or of all, that the part's
// index of users has, page by page.
func (s *Store) members(ctx context.Context, p *part, user string, fn func(refs []reference.ID, members []string) error) error {
	from, to := membersOf(user)
	for {
		answer, err := s.strings(ctx, "zrangebylex", p.users, from, to, "limit", 0, page)
		if err != nil || len(answer) == 0 {
			return err
		}
		refs := make([]reference.ID, len(answer))
		for i, m := range answer {
			if refs[i], _, err = parseMember(m); err != nil {
				return err
			}
		}
		if err := fn(refs, answer); err != nil {
			return err
		}
		from = "(" + answer[len(answer)-1]
	}
}

// eachPart calls fn for each part with those of the references that are its.
func (s *Store) eachPart(refs []reference.ID, fn func(p *part, refs []any) error) error {
	byPart := make(map[*part][]any)
	for _, ref := range refs {
		p := s.ofID(ref)
		byPart[p] = append(byPart[p], ref[:])
	}
	for p, refs := range byPart {
		if err := fn(p, refs); err != nil {
			return err
		}
	}
	return nil
}

// strings sends a command that answers a list of strings; what is not there is "".
func (s *Store) strings(ctx context.Context, args ...any) ([]string, error) {
	answer, err := s.do(ctx, args...)
	if err != nil {
		return nil, err
	}
	all, _ := answer.([]any)
	list := make([]string, len(all))
	for i := range all {
		list[i], _ = all[i].(string)
	}
	return list, nil
}

// scan calls fn with every field of a hash and its value, some of them twice
// where the hash changes meanwhile, page by page.
func (s *Store) scan(ctx context.Context, key string, fn func(fields [][2]string) error) error {
	cursor := "0"
	for {
		answer, err := s.do(ctx, "hscan", key, cursor, "count", page)
		if err != nil {
			return err
		}
		halves, _ := answer.([]any)
		if len(halves) != 2 {
			return errDamaged
		}
		cursor, _ = halves[0].(string)
		flat, _ := halves[1].([]any)
		fields := make([][2]string, 0, len(flat)/2)
		for i := 0; i+1 < len(flat); i += 2 {
			name, _ := flat[i].(string)
			value, _ := flat[i+1].(string)
			fields = append(fields, [2]string{name, value})
		}
		if err := fn(fields); err != nil {
			return err
		}
		if cursor == "0" {
			return nil
		}
	}
}

// Prune implements reference.Store. It goes step by step, each of which is
// atomic, and can be called again when it failed. In a store of several parts
// the instant has to lie before every call under way began.
func (s *Store) Prune(ctx context.Context, before int64) (forgotten int, err error) {
	for i := range s.parts {
		n, err := s.forget(ctx, &s.parts[i], before)
		forgotten += n
		if err != nil {
			return forgotten, said("prune sessions", err)
		}
	}
	// What leads to sessions goes after them, from the record's word.
	for i := range s.parts {
		if err := errors.Join(s.pruneIDs(ctx, &s.parts[i], before), s.pruneUsers(ctx, &s.parts[i], before)); err != nil {
			return forgotten, said("prune sessions", err)
		}
	}
	return forgotten, nil
}

// forget takes out the part's tombstones; they never change, so that what was
// read of one still holds.
func (s *Store) forget(ctx context.Context, p *part, before int64) (n int, err error) {
	err = s.scan(ctx, p.sessions, func(fields [][2]string) error {
		var over []any
		for _, f := range fields {
			sess, err := parseField(f)
			if err != nil {
				return err
			}
			if !sess.Open() && sess.ClosedAt < before {
				over = append(over, f[0])
			}
		}
		dropped, err := s.drop(ctx, "hdel", p.sessions, over)
		n += dropped
		return err
	})
	return n, err
}

func parseField(f [2]string) (reference.SecuritySession, error) {
	r := reader{rest: f[0]}
	ref := r.id()
	sess, err := parseRecord(ref, f[1])
	return sess, errors.Join(r.err(), err)
}

// pruneIDs takes out the part's session IDs that are older than the instant
// and neither the current nor the previous of a session. One that was spent
// never becomes current again.
func (s *Store) pruneIDs(ctx context.Context, p *part, before int64) error {
	return s.scan(ctx, p.ids, func(fields [][2]string) error {
		var refs []reference.ID
		old := make(map[string]reference.ID)
		for _, f := range fields {
			ref, at, err := parseEntry(f[1])
			if err != nil {
				return err
			}
			if at < before {
				refs = append(refs, ref)
				old[f[0]] = ref
			}
		}
		sessions, err := s.records(ctx, refs)
		if err != nil {
			return err
		}
		var spent []any
		for id, ref := range old {
			sess, there := sessions[ref]
			if !there || id != string(sess.Current.ID[:]) && id != string(sess.Previous.ID[:]) {
				spent = append(spent, id)
			}
		}
		_, err = s.drop(ctx, "hdel", p.ids, spent)
		return err
	})
}

// pruneUsers takes out of the part's index of users what is older than the
// instant and leads to no session.
func (s *Store) pruneUsers(ctx context.Context, p *part, before int64) error {
	return s.members(ctx, p, "", func(refs []reference.ID, members []string) error {
		sessions, err := s.records(ctx, refs)
		if err != nil {
			return err
		}
		var stray []any
		for i, m := range members {
			_, there := sessions[refs[i]]
			if _, at, err := parseMember(m); err != nil {
				return err
			} else if !there && at < before {
				stray = append(stray, m)
			}
		}
		_, err = s.drop(ctx, "zrem", p.users, stray)
		return err
	})
}

// drop takes fields out of a hash, or members out of a set, and returns how
// many were there.
func (s *Store) drop(ctx context.Context, command, key string, what []any) (int, error) {
	if len(what) == 0 {
		return 0, nil
	}
	answer, err := s.do(ctx, append([]any{command, key}, what...)...)
	n, _ := answer.(int64)
	return int(n), err
}

// records returns those of the sessions that are there, without what hangs
// under them.
func (s *Store) records(ctx context.Context, refs []reference.ID) (map[reference.ID]reference.SecuritySession, error) {
	sessions := make(map[reference.ID]reference.SecuritySession, len(refs))
	err := s.eachPart(refs, func(p *part, refs []any) error {
		found, err := s.strings(ctx, append([]any{"hmget", p.sessions}, refs...)...)
		if err != nil {
			return err
		}
		for i, rec := range found {
			if rec == "" {
				continue
			}
			sess, err := parseField([2]string{string(refs[i].([]byte)), rec})
			if err != nil {
				return err
			}
			sessions[sess.Ref] = sess
		}
		return nil
	})
	return sessions, err
}

// SetCurrent implements reference.Editor.
func (s *Store) SetCurrent(ctx context.Context, ref reference.ID, t reference.Token) error {
	return said("set stored token", s.setCurrent(ctx, ref, t))
}

func (s *Store) setCurrent(ctx context.Context, ref reference.ID, t reference.Token) error {
	if _, err := s.Load(ctx, ref); err != nil {
		return err
	}
	switch owner, err := s.lookup(ctx, t.ID); {
	case errors.Is(err, reference.ErrUnknown):
	case err != nil:
		return err
	case owner != ref:
		return errors.New("the session ID is another session's")
	}
	if _, err := s.do(ctx, "hset", s.ofID(t.ID).ids, t.ID[:], entry(ref, t)); err != nil {
		return err
	}
	_, err := s.run(ctx, setCurrentScript, []string{s.ofID(ref).sessions}, ref[:], putToken(nil, t))
	return err
}

// Remove implements reference.Editor. It reads the whole index of session IDs.
func (s *Store) Remove(ctx context.Context, ref reference.ID) error {
	return said("remove session", s.remove(ctx, ref))
}

func (s *Store) remove(ctx context.Context, ref reference.ID) error {
	// Closing ends what hangs under the session, in one step.
	if _, err := s.CloseSession(ctx, ref, reference.ByAdmin, 1); err != nil {
		return err
	}
	sess, err := s.Load(ctx, ref)
	if err != nil {
		return err
	}
	if _, err := s.do(ctx, "hdel", s.ofID(ref).sessions, ref[:]); err != nil {
		return err
	}
	if _, err := s.do(ctx, "zrem", s.of(sess.User).users, member(&sess)); err != nil {
		return err
	}
	for i := range s.parts {
		p := &s.parts[i]
		err := s.scan(ctx, p.ids, func(fields [][2]string) error {
			var its []any
			for _, f := range fields {
				owner, _, err := parseEntry(f[1])
				if err != nil {
					return err
				}
				if owner == ref {
					its = append(its, f[0])
				}
			}
			_, err := s.drop(ctx, "hdel", p.ids, its)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
