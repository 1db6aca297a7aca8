package targetfile

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/farmspec/farmspec"
)

// Control offers a farm's clock, processes, database and keys over HTTP, in the
// form that the hooks of a target file ask for: the other end of them. Whoever
// has the credential can do anything with the farm's sessions, so a control
// belongs on loopback. [ControlHooks] are the lines that reach it.
func Control(h farmspec.Hooks, credential string) http.Handler {
	mux := http.NewServeMux()
	offer := func(path string, do func(ctx context.Context, r *http.Request, in controlInput) (any, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			sent, want := sha256.Sum256([]byte(r.Header.Get("Authorization"))), sha256.Sum256([]byte("Bearer "+credential))
			if credential == "" || subtle.ConstantTimeCompare(sent[:], want[:]) != 1 {
				reply(w, http.StatusUnauthorized, problem{"the credential is not that of this control"})
				return
			}
			var in controlInput
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, answerSize)).Decode(&in); err != nil {
				reply(w, http.StatusBadRequest, problem{"the input is not a JSON object of this control"})
				return
			}
			out, err := do(r.Context(), r, in)
			switch {
			case errors.Is(err, farmspec.ErrNoHook):
				reply(w, http.StatusNotImplemented, problem{wordNoHook})
			case errors.Is(err, farmspec.ErrRefused):
				reply(w, http.StatusConflict, problem{err.Error()})
			case err != nil:
				reply(w, http.StatusInternalServerError, problem{err.Error()})
			case out == nil:
				reply(w, http.StatusOK, struct{}{})
			default:
				reply(w, http.StatusOK, out)
			}
		})
	}
	if p := h.Processes; p != nil {
		offer("/processes/{name}/stop", func(ctx context.Context, r *http.Request, _ controlInput) (any, error) {
			return nil, p.Stop(ctx, r.PathValue("name"))
		})
		offer("/processes/{name}/start", func(ctx context.Context, r *http.Request, _ controlInput) (any, error) {
			return nil, p.Start(ctx, r.PathValue("name"))
		})
	}
	if c := h.Clock; c != nil {
		offer("/clock/now", func(ctx context.Context, _ *http.Request, _ controlInput) (any, error) {
			now, err := c.Now(ctx)
			return nowAnswer{now.UnixMilli()}, err
		})
		offer("/clock/advance", func(ctx context.Context, _ *http.Request, in controlInput) (any, error) {
			return nil, c.Advance(ctx, time.Duration(in.Milliseconds)*time.Millisecond)
		})
		offer("/clock/skew", func(ctx context.Context, _ *http.Request, in controlInput) (any, error) {
			return nil, c.Skew(ctx, in.Process, time.Duration(in.Milliseconds)*time.Millisecond)
		})
	}
	if b := h.Database; b != nil {
		offer("/database/rows", func(ctx context.Context, _ *http.Request, in controlInput) (any, error) {
			rows, err := b.Rows(ctx, in.User)
			answer := sessionsForm{Sessions: []sessionForm{}}
			for _, r := range rows {
				form := sessionFormOf(r.SessionInfo)
				form.Token = new(formOf(r.Token))
				answer.Sessions = append(answer.Sessions, form)
			}
			return answer, err
		})
		offer("/database/set-token", func(ctx context.Context, _ *http.Request, in controlInput) (any, error) {
			return nil, b.SetToken(ctx, in.Ref, in.Token.plain())
		})
		offer("/database/remove", func(ctx context.Context, _ *http.Request, in controlInput) (any, error) {
			return nil, b.Remove(ctx, in.Ref)
		})
		offer("/database/fail-next", func(ctx context.Context, _ *http.Request, in controlInput) (any, error) {
			return nil, b.FailNext(ctx, in.Trace)
		})
	}
	if k := h.Keys; k != nil {
		offer("/keys/open", func(_ context.Context, _ *http.Request, in controlInput) (any, error) {
			t, err := k.Open(in.Sealed)
			if errors.Is(err, farmspec.ErrRefused) {
				return tokenAnswer{}, nil
			}
			return tokenAnswer{new(formOf(t))}, err
		})
		seal := func(do func(farmspec.PlainToken) (string, error)) func(context.Context, *http.Request, controlInput) (any, error) {
			return func(_ context.Context, _ *http.Request, in controlInput) (any, error) {
				sealed, err := do(in.Token.plain())
				return sealedAnswer{sealed}, err
			}
		}
		offer("/keys/seal", seal(k.Seal))
		offer("/keys/seal-foreign", seal(k.SealForeign))
		offer("/keys/rotate", func(ctx context.Context, _ *http.Request, in controlInput) (any, error) {
			return nil, k.Rotate(ctx, in.Members)
		})
	}
	return mux
}

// controlInput is whatever a hook asks.
type controlInput struct {
	User         string    `json:"user"`
	Ref          string    `json:"ref"`
	Trace        string    `json:"trace"`
	Process      string    `json:"process"`
	Sealed       string    `json:"sealed"`
	Token        tokenForm `json:"token"`
	Milliseconds int64     `json:"milliseconds"`
	Members      int       `json:"members"`
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked is gone, or hears it
}

// ControlHooks are the lines of a target file that reach the [Control] of
// these hooks at the base address. The processes are those that it can stop.
func ControlHooks(h farmspec.Hooks, base string, processes []string) Hooks {
	post := func(format string, args ...any) string { return "POST " + base + fmt.Sprintf(format, args...) }
	var out Hooks
	if h.Processes != nil {
		out.Processes = map[string]Process{}
		for _, name := range processes {
			at := "/processes/" + url.PathEscape(name)
			out.Processes[name] = Process{Stop: post("%s/stop", at), Start: post("%s/start", at)}
		}
	}
	if h.Clock != nil {
		out.Clock = Clock{Advance: post("/clock/advance?milliseconds={milliseconds}"), Now: post("/clock/now"), Skew: post("/clock/skew")}
	}
	if h.Database != nil {
		out.Database = Database{Rows: post("/database/rows"), SetToken: post("/database/set-token"), Remove: post("/database/remove"), FailNext: post("/database/fail-next")}
	}
	if h.Keys != nil {
		out.Keys = Keys{Open: post("/keys/open"), Seal: post("/keys/seal"), SealForeign: post("/keys/seal-foreign"), Rotate: post("/keys/rotate")}
	}
	return out
}
