package variant

import (
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
	"github.com/farmspec/farmspec/reference/web"
	"github.com/farmspec/farmspec/simfarm"
)

// Farms of another size, with other limits and clocks.

func init() {
	tick := time.Millisecond // the least difference of two timestamps
	register(
		Variant{
			ID: "two-members", Name: "A farm of two servers",
			Differs: "no third server to go to",
			Options: simfarm.Options{Servers: 2, Rotation: "coalesce", Topology: "split-domain"},
		},
		Variant{
			ID: "five-members", Name: "A farm of five servers over SQLite",
			Differs: "more servers than any scenario names, and another database",
			Options: simfarm.Options{Servers: 5, Database: "sqlite::memory:", Topology: "single-host"},
		},
		Variant{
			ID: "short-grace", Name: "A predecessor is good for one second",
			Differs: "a fifth of the usual grace",
			Options: simfarm.Options{Rotation: "coalesce", Grace: time.Second, Replay: "revoke-family"},
		},
		Variant{
			ID: "long-grace", Name: "A predecessor is good for a minute",
			Differs: "twelve times the usual grace, and declared",
			Options: simfarm.Options{Rotation: "coalesce", Grace: time.Minute, Handoff: "claimed"},
		},
		Variant{
			ID: "expires-at-the-limit", Name: "A session is over when the limit is reached, not after it",
			Differs: "elapsed >= limit in place of elapsed > limit; the claims say neither (D7)",
			Options: simfarm.Options{Limits: reference.Limits{Idle: 30*time.Minute - tick, Absolute: 12*time.Hour - tick, HTTPIdle: 20*time.Minute - tick}},
			Target: func(t *farmspec.Target) {
				t.Limits.Idle = t.Limits.Idle.Round(time.Second)
				t.Limits.Absolute = t.Limits.Absolute.Round(time.Second)
				for i := range t.Apps {
					t.Apps[i].Idle = t.Apps[i].Idle.Round(time.Second)
				}
			},
		},
		Variant{
			ID: "long-http-sessions", Name: "HTTP sessions have a longer idle time-out than the security session",
			Differs: "they end with it, long before their own limit",
			Options: simfarm.Options{Limits: reference.Limits{HTTPIdle: 2 * time.Hour}, Rotation: "coalesce", Topology: "single-host"},
		},
		Variant{
			ID: "short-limits", Name: "Sessions of two minutes, HTTP sessions of half a minute",
			Differs: "limits near to the grace and to the margins of a judge",
			Options: simfarm.Options{Limits: reference.Limits{Idle: 2 * time.Minute, Absolute: 15 * time.Minute, HTTPIdle: 30 * time.Second}, Rotation: "coalesce"},
		},
		Variant{
			ID: "three-sessions", Name: "A user has three sessions at most; one more ends the oldest",
			Differs: "a log-in may end a session of the same user, as declared (AJ-6.5)",
			Options: simfarm.Options{MaxSessions: 3, Handoff: "direct", Topology: "split-domain"},
		},
		Variant{
			ID: "relogin", Name: "A crash ends the sessions of the server where their users logged in",
			Differs: "who was signed in there logs in again, as declared (D14)",
			Options: simfarm.Options{Failover: farmspec.Relogin, Rotation: "coalesce", Handoff: "claimed"},
		},
		Variant{
			ID: "members-off", Name: "Servers' clocks are off by seconds, within what is declared",
			Differs: "what a server shows as the time is not the service's",
			Options: simfarm.Options{Limits: reference.Limits{Tolerance: 5 * time.Second}, Wrap: simfarm.Wrap{Member: func(c *web.ServerConfig) {
				now, off := c.Now, time.Duration(len(c.Name)%2*2-1)*4*time.Second
				if c.Name[len(c.Name)-1]%2 == 0 {
					off = -off
				}
				c.Now = func() time.Time { return now().Add(off) }
			}}},
		},
		Variant{
			ID: "service-replicas", Name: "Two replicas of the service answer in turn, their clocks half a second apart",
			Differs: "the service's time may step back by as much, within the declared tolerance of two seconds (D8)",
			Options: simfarm.Options{Limits: reference.Limits{Tolerance: 2 * time.Second}, Plant: func() simfarm.Wrap {
				return simfarm.Wrap{Service: func(o *reference.Options) {
					var turn atomic.Int64
					now := o.Now
					o.Now = func() time.Time { return now().Add(time.Duration(turn.Add(1)%2) * 500 * time.Millisecond) }
				}}
			}},
		},
	)
}
