package mutant

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// The faults of time-outs.

func init() {
	register(
		Fault{
			ID: "F26", Name: "only the cookie's Max-Age times a session out", Violates: []string{"WF-7.3", "WSTG-SESS-07", "ASVS-7.3.1", "NIST-5.1.1.expiry", "ASVS-9.2.1"},
			Convicts: []string{"timeout.cookie-age-means-nothing"}, Level: farmspec.Black, Precedent: "aiohttp-session CVE-2018-1000814",
			Plant: func() simfarm.Wrap {
				return Both(service(func(o *reference.Options) { unlimited(o) })(), pages(cookieAges)())
			},
		},
		Fault{
			ID: "F27", Name: "the comparison is the wrong way round", Violates: []string{"WF-7.1"},
			Convicts: []string{"timeout.fresh-session"}, Level: farmspec.Black, Precedent: "racket/web-server PR 25",
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				idle, now := unlimited(o), clockOfOptions(o)
				return func(s web.Service) web.Service {
					return guarded(s, func(_ context.Context, r reference.Presented) error {
						if now()-r.Token.Timestamp <= idle.Milliseconds() {
							return reference.ErrExpired
						}
						return nil
					})
				}
			}),
		},
		Fault{
			ID: "F28", Name: "the time counts from the log-in, not from the last page", Violates: []string{"WF-7.1"},
			Convicts: []string{"timeout.activity-extends"}, Level: farmspec.Black,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				idle, now, db := unlimited(o), clockOfOptions(o), o.Store
				return func(s web.Service) web.Service {
					return guarded(s, func(ctx context.Context, r reference.Presented) error {
						if row, err := db.Find(ctx, r.Token.ID); err == nil && now()-row.AuthenticatedAt > idle.Milliseconds() {
							return reference.ErrExpired
						}
						return nil
					})
				}
			}),
		},
		Fault{
			ID: "F29", Name: "a server's own clock is compared with a timestamp of the service", Violates: []string{"WF-7.3", "SY-19.1"},
			Convicts: []string{"timeout.clocks-of-servers"}, Level: farmspec.White, Precedent: "Spring Session issues 742 and 1001",
			Plant: func() simfarm.Wrap {
				return simfarm.Wrap{
					Service: func(o *reference.Options) { unlimited(o) },
					Member: func(c *web.ServerConfig) {
						now := c.Now
						c.Sessions = timedByMember(c.Sessions, defaultIdle, func(context.Context) time.Time { return now() })
					},
				}
			},
		},
		Fault{
			ID: "F30", Name: "a clock set back brings back what had timed out unnoticed", Violates: []string{"WF-8.1"},
			Convicts: []string{"timeout.clock-stepped-back"}, Level: farmspec.White, Precedent: "GlassFish issue 26205",
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				idle, now, db := unlimited(o), clockOfOptions(o), o.Store
				return func(s web.Service) web.Service {
					return guarded(s, func(ctx context.Context, r reference.Presented) error {
						return closeIfIdle(ctx, db, r, now(), idle)
					})
				}
			}),
		},
		Fault{
			ID: "F31", Name: "the limit is in seconds where milliseconds are meant", Violates: []string{"WF-7.1", "ASVS-9.2.1", "NIST-5.1.timeout", "NIST-5.2.either"},
			Convicts: []string{"timeout.just-outside"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Limits.Idle *= 1000 }),
		},
		Fault{
			ID: "F32", Name: "a timed-out token is refused and its session left open", Violates: []string{"WF-8.1", "SY-20.1"},
			Convicts: []string{"timeout.row-closed", "timeout.administrator-sees-it", "timeout.service-closes", "timeout.clock-set-back"}, Level: farmspec.Grey,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				idle, now := unlimited(o), clockOfOptions(o)
				return func(s web.Service) web.Service {
					return guarded(s, func(_ context.Context, r reference.Presented) error {
						if now()-r.Token.Timestamp > idle.Milliseconds() {
							return reference.ErrExpired
						}
						return nil
					})
				}
			}),
		},
		Fault{
			ID: "F34", Name: "rotation starts the absolute lifetime anew", Violates: []string{"ASVS-7.3.2", "NIST-5.2.activity", "NIST-5.2.either"},
			Convicts: []string{"timeout.absolute-lifetime"}, Level: farmspec.White,
			Plant: service(func(o *reference.Options) { o.Limits.Absolute = forever }),
		},
		Fault{
			ID: "F46", Name: "HTTP sessions belong to the user and outlive the session", Violates: []string{"WF-8.2", "AJ-3.4", "AJ-0.1", "AJ-6.4"},
			Convicts: []string{"timeout.ends-every-http-session", "state.gone-after-end"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) { c.Sessions = ownMemory(c.Sessions, byUser) }),
		},
		Fault{
			ID: "M301", Name: "sessions time out after half of what is declared", Violates: []string{"WF-7.1"},
			Convicts: []string{"timeout.just-inside"}, Level: farmspec.Black,
			Plant: service(func(o *reference.Options) { o.Limits.Idle /= 2 }),
		},
		Fault{
			ID: "M303", Name: "the refusal of a timed-out hop brings a token", Violates: []string{"WF-7.5"},
			Convicts: []string{"timeout.hop-refused"}, Level: farmspec.Black,
			Plant: tokenWithRefusal,
		},
		Fault{
			ID: "M304", Name: "a request that is refused for the time-out starts the time anew", Violates: []string{"WF-7.5", "WF-8.1"},
			Convicts: []string{"timeout.refusal-renews-nothing"}, Level: farmspec.Black,
			Plant: touching(false, expired),
		},
		Fault{
			ID: "M305", Name: "a spent token starts the time anew", Violates: []string{"WF-7.1"},
			Convicts: []string{"timeout.strangers-renew-nothing"}, Level: farmspec.Black,
			Plant: touching(false, func(err error) bool { return errors.Is(err, reference.ErrSpent) }),
		},
		Fault{
			ID: "M306", Name: "to verify a token starts the time anew", Violates: []string{"WF-7.1"},
			Convicts: []string{"timeout.verification-renews-nothing"}, Level: farmspec.White,
			Plant: touching(true, func(error) bool { return false }),
		},
		Fault{
			ID: "M307", Name: "the elapsed time is compared in whole minutes", Violates: []string{"WF-7.1", "ASVS-9.2.1"},
			Convicts: []string{"timeout.to-the-second"}, Level: farmspec.White,
			Plant: service(func(o *reference.Options) { o.Limits.Idle += 59 * time.Second }),
		},
		Fault{
			ID: "M308", Name: "servers compute the elapsed time themselves", Violates: []string{"SY-19.1"},
			Convicts: []string{"timeout.service-compares"}, Level: farmspec.Grey,
			Plant: member(func(c *web.ServerConfig) {
				name, observer, now, next := c.Name, c.Observer, c.Now, c.Sessions
				c.Sessions = memberWith{Sessions: next, renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
					var err error
					if now().UnixMilli()-r.Token.Timestamp > defaultIdle.Milliseconds() {
						err = reference.ErrExpired
					}
					observer.Event(ctx, reference.Event{Part: name, Peer: name, Op: farmspec.OpElapsed, Err: err})
					if err != nil {
						return reference.Grant{}, err
					}
					return next.Renew(ctx, r)
				}}
			}),
		},
		Fault{
			ID: "M309", Name: "one server has a shorter time-out of its own", Violates: []string{"WF-7.2", "ASVS-7.1.1"},
			Convicts: []string{"timeout.same-at-every-server"}, Level: farmspec.Black,
			Plant: member(func(c *web.ServerConfig) {
				if now := c.Now; c.Name == "server-2" {
					c.Sessions = timedByMember(c.Sessions, defaultIdle/2, func(context.Context) time.Time { return now() })
				}
			}),
		},
		Fault{
			ID: "M310", Name: "the request's own date counts as the present time", Violates: []string{"WF-7.3"},
			Convicts: []string{"timeout.date-of-request-means-nothing"}, Level: farmspec.Black,
			Plant: datedByRequest,
		},
		Fault{
			ID: "M311", Name: "a timestamp of the future is a good one", Violates: []string{"WF-7.4"},
			Convicts: []string{"timeout.future-token"}, Level: farmspec.White,
			Plant: service(func(o *reference.Options) { o.Limits.Tolerance = forever }),
		},
		Fault{
			ID: "M312", Name: "a later timestamp than the stored one is taken for a newer token", Violates: []string{"WF-7.4"},
			Convicts: []string{"timeout.future-timestamp"}, Level: farmspec.Grey, Profile: claimed,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				db := o.Store
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, verify: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
						if row, err := db.Find(ctx, r.Token.ID); err == nil && row.Current.ID == r.Token.ID {
							r.Token.Timestamp = min(r.Token.Timestamp, row.Current.Timestamp)
						}
						return s.Verify(ctx, r)
					}}
				}
			}),
		},
		Fault{
			ID: "M313", Name: "a session does not time out while an HTTP session of it lives", Violates: []string{"AJ-3.4", "AJ-0.3", "AJ-X5"},
			Convicts: []string{"timeout.ends-live-http-sessions", "timeout.ends-live-http-sessions-exactly"}, Level: farmspec.Grey,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				idle, now, db := unlimited(o), clockOfOptions(o), o.Store
				return func(s web.Service) web.Service {
					return guarded(s, func(ctx context.Context, r reference.Presented) error {
						if row, err := db.Find(ctx, r.Token.ID); err == nil && len(row.HTTP) > 0 {
							return nil
						}
						return closeIfIdle(ctx, db, r, now(), idle)
					})
				}
			}),
		},
		Fault{
			ID: "M314", Name: "one session's time-out ends all sessions of its user", Violates: []string{"WF-8.3"},
			Convicts: []string{"timeout.sibling-lives"}, Level: farmspec.Black,
			Plant: around(func(o *reference.Options) func(web.Service) web.Service {
				now, db := clockOfOptions(o), o.Store
				return func(s web.Service) web.Service {
					return serviceWith{Service: s, renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
						g, err := s.Renew(ctx, r)
						if row, found := db.Find(ctx, r.Token.ID); expired(err) && found == nil {
							err = errors.Join(err, closeAll(ctx, db, row.User, now()))
						}
						return g, err
					}}
				}
			}),
		},
		Fault{
			ID: "M315", Name: "sessions end at half their absolute lifetime", Violates: []string{"ASVS-7.3.2", "ASVS-7.1.1"},
			Convicts: []string{"timeout.absolute-lifetime"}, Level: farmspec.White,
			Plant: service(func(o *reference.Options) { o.Limits.Absolute = 6 * time.Hour }),
		},
		Fault{
			ID: "M364", Name: "a log-in after the time-out takes the old session up again", Violates: []string{"WF-8.1"},
			Convicts: []string{"timeout.stays-closed"}, Level: farmspec.Black,
			Plant: takesUpAgain,
		},
	)
}

// closeIfIdle closes and refuses a session by the token's timestamp.
func closeIfIdle(ctx context.Context, db reference.Store, r reference.Presented, now int64, idle time.Duration) error {
	if now-r.Token.Timestamp <= idle.Milliseconds() {
		return nil
	}
	row, err := db.Find(ctx, r.Token.ID)
	if err == nil {
		_, err = db.CloseSession(ctx, row.Ref, reference.ByIdle, now)
	}
	if err != nil {
		return fmt.Errorf("close timed-out session: %w", err)
	}
	return reference.ErrExpired
}

func closeAll(ctx context.Context, db reference.Store, user string, now int64) error {
	rows, err := db.List(ctx, user)
	for _, row := range rows {
		_, failed := db.CloseSession(ctx, row.Ref, reference.ByIdle, now)
		err = errors.Join(err, failed)
	}
	return err
}

// cookieAges gives every token cookie a Max-Age.
func cookieAges(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&edited{ResponseWriter: w, edit: func(_ int, header http.Header) {
			for i, line := range header["Set-Cookie"] {
				if strings.Contains(line, "farm=") && !strings.Contains(line, "Max-Age") {
					header["Set-Cookie"][i] += fmt.Sprintf("; Max-Age=%d", int(defaultIdle.Seconds()))
				}
			}
		}}, r)
	})
}

// timedByMember lets a member decide by its own reading of the time.
func timedByMember(next reference.Sessions, idle time.Duration, now func(context.Context) time.Time) reference.Sessions {
	return memberWith{Sessions: next, renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
		if now(ctx).UnixMilli()-r.Token.Timestamp > idle.Milliseconds() {
			return reference.Grant{}, reference.ErrExpired
		}
		return next.Renew(ctx, r)
	}}
}

type requestKey string

// datedByRequest takes the Date of a request for the present time.
func datedByRequest() simfarm.Wrap {
	const dated = requestKey("date")
	w := pages(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
				r = r.WithContext(context.WithValue(r.Context(), dated, date))
			}
			h.ServeHTTP(w, r)
		})
	})()
	w.Service = func(o *reference.Options) { unlimited(o) }
	w.Member = func(c *web.ServerConfig) {
		own := c.Now
		c.Sessions = timedByMember(c.Sessions, defaultIdle, func(ctx context.Context) time.Time {
			if date, ok := ctx.Value(dated).(time.Time); ok {
				return date
			}
			return own()
		})
	}
	return w
}

// tokenWithRefusal has the member seal a token for whoever it refuses.
func tokenWithRefusal() simfarm.Wrap {
	const owed = requestKey("token")
	w := pages(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			line := new(string)
			r = r.WithContext(context.WithValue(r.Context(), owed, line))
			h.ServeHTTP(&edited{ResponseWriter: w, edit: func(_ int, header http.Header) {
				if *line != "" {
					header.Add("Set-Cookie", *line)
				}
			}}, r)
		})
	})()
	w.Member = func(c *web.ServerConfig) {
		farm, sealer, next := c.Farm, c.Sealer, c.Sessions
		c.Sessions = memberWith{Sessions: next, renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
			g, err := next.Renew(ctx, r)
			if line, ok := ctx.Value(owed).(*string); ok && expired(err) {
				if sealed, failed := sealer.Seal(r.Token); failed == nil {
					*line = fmt.Sprintf("%s=%s; Path=/; Domain=%s; Secure; HttpOnly", farm.CookieName(), sealed, farm.Domain)
				}
			}
			return g, err
		}}
	}
	return w
}

// touching counts the time from the last request of a session that was
// accepted, or refused in the given way, or, on demand, verified.
func touching(verified bool, refused func(error) bool) func() simfarm.Wrap {
	return around(func(o *reference.Options) func(web.Service) web.Service {
		idle, now, db := unlimited(o), clockOfOptions(o), o.Store
		var mu sync.Mutex
		last := map[reference.ID]int64{}
		timed := func(ctx context.Context, r reference.Presented, counts bool, do func() (reference.Grant, error)) (g reference.Grant, err error) {
			row, err := db.Find(ctx, r.Token.ID)
			if err != nil {
				return do()
			}
			mu.Lock()
			idleFor := now() - max(last[row.Ref], row.AuthenticatedAt)
			mu.Unlock()
			if idleFor > idle.Milliseconds() {
				err = reference.ErrExpired
			} else {
				g, err = do()
			}
			if counts && (err == nil || refused(err)) {
				mu.Lock()
				last[row.Ref] = now()
				mu.Unlock()
			}
			return g, err
		}
		return func(s web.Service) web.Service {
			return serviceWith{
				Service: s,
				renew: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
					return timed(ctx, r, true, func() (reference.Grant, error) { return s.Renew(ctx, r) })
				},
				verify: func(ctx context.Context, r reference.Presented) (reference.Grant, error) {
					return timed(ctx, r, verified, func() (reference.Grant, error) { return s.Verify(ctx, r) })
				},
			}
		}
	})
}

// takesUpAgain refuses what is idle until its user logs in again.
func takesUpAgain() simfarm.Wrap {
	return around(func(o *reference.Options) func(web.Service) web.Service {
		idle, now, db := unlimited(o), clockOfOptions(o), o.Store
		var mu sync.Mutex
		back := map[string]int64{}
		return func(s web.Service) web.Service {
			g := guarded(s, func(ctx context.Context, r reference.Presented) error {
				row, err := db.Find(ctx, r.Token.ID)
				if err != nil {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				if now()-max(r.Token.Timestamp, back[row.User]) > idle.Milliseconds() {
					return reference.ErrExpired
				}
				return nil
			}).(serviceWith)
			g.login = func(ctx context.Context, r reference.LoginRequest) (reference.Grant, error) {
				r.Discard = reference.Token{}
				grant, err := s.Login(ctx, r)
				if err == nil {
					mu.Lock()
					back[r.User] = now()
					mu.Unlock()
				}
				return grant, err
			}
			return g
		}
	})()
}
