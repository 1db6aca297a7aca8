package targetfile

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
)

// hooks makes hooks of the file's lines.
func (s *Source) hooks(dir string) {
	f, d, t := &s.File, s.d, s.Target
	h := &f.Hooks
	var members []string
	for _, m := range f.Members {
		members = append(members, m.Name)
	}
	way := newDoor(t, dir, s.secret(dir, "hooks.credential", h.Credential))
	parts := append(slices.Clone(members), farmspec.ServiceProcess, farmspec.DatabaseProcess)
	for name, p := range h.Processes {
		at := "hooks.processes." + name
		if !slices.Contains(parts, name) {
			d.at(at, remedy(name, parts), "hooks.processes has the unknown part %q", name)
		}
		s.lines(at, map[string]string{"stop": p.Stop, "start": p.Start})
	}
	if len(h.Processes) > 0 {
		t.Hooks.Processes = processes{way, h.Processes}
	}
	if h.Clock.Advance != "" {
		if !strings.Contains(h.Clock.Advance, "{seconds}") && !strings.Contains(h.Clock.Advance, "{milliseconds}") {
			d.at("hooks.clock.advance", "write {seconds} where the number goes, or {milliseconds} if it can also be set back", "hooks.clock.advance does not say how far")
		}
		s.lines("hooks.clock", map[string]string{"advance": h.Clock.Advance, "now": h.Clock.Now, "skew": h.Clock.Skew})
		t.Hooks.Clock = &clock{door: way, Clock: h.Clock}
	}
	if h.Service.URL != "" {
		s.base("hooks.service.url", h.Service.URL)
		secrets := map[string]string{}
		for name, value := range h.Service.Credentials {
			at := "hooks.service.credentials." + name
			if !slices.Contains(members, name) {
				d.at(at, remedy(name, members), "hooks.service.credentials has the unknown member %q", name)
			}
			secrets[name] = s.secret(dir, at, value)
		}
		for _, name := range members {
			if _, ok := secrets[name]; !ok && h.Service.Credentials != nil {
				d.at("hooks.service.credentials", "add "+name+": env:NAME or file:PATH", "hooks.service.credentials has none of %s", name)
			}
		}
		t.Hooks.Service = service{way, strings.TrimSuffix(h.Service.URL, "/"), secrets}
	}
	if d.lines["hooks.admin"] > 0 {
		s.admin(dir, way)
	}
	if h.Database.Rows != "" {
		s.lines("hooks.database", map[string]string{
			"rows": h.Database.Rows, "set_token": h.Database.SetToken, "remove": h.Database.Remove, "fail_next": h.Database.FailNext})
		t.Hooks.Database = database{way, h.Database}
	}
	if len(h.Logs) > 0 {
		s.lines("hooks.logs", h.Logs)
		t.Hooks.Logs = logs{way, h.Logs}
	}
	if h.Keys.Open != "" {
		s.lines("hooks.keys", map[string]string{"open": h.Keys.Open, "seal": h.Keys.Seal, "seal_foreign": h.Keys.SealForeign, "rotate": h.Keys.Rotate})
		t.Hooks.Keys = keys{way, h.Keys}
	}
}

// admin takes an administrator that speaks the session service's routes, or
// recipes of one who does not.
func (s *Source) admin(dir string, way *door) {
	d, a := s.d, s.File.Hooks.Admin
	recipes := map[string]string{
		"sessions": a.Sessions, "end_session": a.EndSession, "end_http_session": a.EndHTTPSession, "end_user": a.EndUser, "end_all": a.EndAll, "disable_user": a.DisableUser, "enable_user": a.EnableUser}
	s.lines("hooks.admin", recipes)
	credential := s.secret(dir, "hooks.admin.credential", a.Credential)
	given := false
	for _, line := range recipes {
		given = given || line != ""
	}
	switch {
	case a.URL == "" && !given:
		d.at("hooks.admin", "add url and credential, or recipes such as end_user", "hooks.admin does not say what an administrator does")
		return
	case a.URL != "" && given:
		d.at("hooks.admin.url", "keep one of the two", "hooks.admin has a url and recipes")
	case a.URL == "" && a.Credential != "":
		d.at("hooks.admin.credential", "delete it, or move it to hooks.credential, which recipes send", "hooks.admin.credential is of a url, and there is none")
	case a.URL != "" && d.lines["hooks.admin.credential"] == 0:
		d.at("hooks.admin", "add credential: env:NAME or file:PATH", "hooks.admin.credential is missing")
	}
	if a.URL == "" {
		s.Target.Hooks.Admin = recipeAdmin{way, a}
		return
	}
	s.base("hooks.admin.url", a.URL)
	s.Target.Hooks.Admin = serviceAdmin{way, strings.TrimSuffix(a.URL, "/"), "Bearer " + credential}
}

// lines checks hooks that are requests.
func (s *Source) lines(at string, all map[string]string) {
	for name, line := range all {
		if _, address, ok := request(line); ok {
			if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				s.d.at(at+"."+name, "write it like POST http://127.0.0.1:8099/stop", "%s.%s has no address to send to", at, name)
			}
		}
	}
}

// base checks the base address of a service.
func (s *Source) base(at, address string) {
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
		s.d.at(at, "write it like https://sessions.example.com:8443", "%s is no address of a service", at)
	}
}

// processes stops and starts parts.
type processes struct {
	*door
	parts map[string]Process
}

func (p processes) Stop(ctx context.Context, name string) error {
	if err := p.do(ctx, p.parts[name].Stop, nil, nil); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}

func (p processes) Start(ctx context.Context, name string) error {
	if err := p.do(ctx, p.parts[name].Start, nil, nil); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// clock moves the farm's time.
type clock struct {
	*door
	Clock
	moved atomic.Int64 // how far, a time.Duration
}

// Now is ours as far as it was moved, where the file does not say how to ask.
func (c *clock) Now(ctx context.Context) (time.Time, error) {
	if c.Clock.Now == "" {
		return time.Now().Add(time.Duration(c.moved.Load())), nil
	}
	var answer nowAnswer
	if err := c.do(ctx, c.Clock.Now, nil, &answer); err != nil {
		return time.Time{}, fmt.Errorf("ask for the farm's time: %w", err)
	}
	return time.UnixMilli(answer.Now), nil
}

// Advance lets d pass: in whole milliseconds either way, or in whole seconds
// forward, the next one up, as the line has it.
func (c *clock) Advance(ctx context.Context, d time.Duration) error {
	in, moved := input{"milliseconds": d.Milliseconds()}, d.Truncate(time.Millisecond)
	if !strings.Contains(c.Clock.Advance, "{milliseconds}") {
		if d < 0 {
			return fmt.Errorf("set the clock back: %w", farmspec.ErrNoHook)
		}
		seconds := int64((d + time.Second - 1) / time.Second)
		in, moved = input{"seconds": seconds}, time.Duration(seconds)*time.Second
	}
	if err := c.do(ctx, c.Clock.Advance, in, nil); err != nil {
		return fmt.Errorf("advance the clock: %w", err)
	}
	c.moved.Add(int64(moved))
	return nil
}

func (c *clock) Skew(ctx context.Context, process string, d time.Duration) error {
	if err := c.do(ctx, c.Clock.Skew, input{"process": process, "milliseconds": d.Milliseconds()}, nil); err != nil {
		return fmt.Errorf("set the clock of %s off: %w", process, err)
	}
	return nil
}

// service speaks to the session management web service as its OpenAPI
// document says.
type service struct {
	*door
	base    string
	secrets map[string]string
}

func (s service) Endpoint() string { return s.base }

func (s service) Authorize(h http.Header, member string) error {
	secret, ok := s.secrets[member]
	if !ok {
		return fmt.Errorf("authorize request as %s: %w", member, farmspec.ErrNoHook)
	}
	h.Set("Authorization", "Bearer "+secret)
	return nil
}

func (s service) call(ctx context.Context, member, path string, in, out any) error {
	h := http.Header{}
	if member != "" {
		if err := s.Authorize(h, member); err != nil {
			return err
		}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, actionTime)
	defer cancel()
	return s.send(ctx, http.MethodPost, s.base+path, h.Get("Authorization"), body, out)
}

func (s service) Verify(ctx context.Context, member string, t farmspec.PlainToken) error {
	if err := s.call(ctx, member, "/v1/verify", tokenAnswer{new(formOf(t))}, nil); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

func (s service) Renew(ctx context.Context, member string, t farmspec.PlainToken) (farmspec.PlainToken, error) {
	var next tokenAnswer
	if err := s.call(ctx, member, "/v1/renew", tokenAnswer{new(formOf(t))}, &next); err != nil {
		return farmspec.PlainToken{}, fmt.Errorf("renew: %w", err)
	}
	if next.Token == nil {
		return farmspec.PlainToken{}, fmt.Errorf("renew: the answer has no token")
	}
	return next.Token.plain(), nil
}

func (s service) CreateHTTPSession(ctx context.Context, member string, t farmspec.PlainToken, app string) error {
	in := input{"token": formOf(t), "application": app}
	if err := s.call(ctx, member, "/v1/http-sessions/create", in, nil); err != nil {
		return fmt.Errorf("create HTTP session: %w", err)
	}
	return nil
}

// serviceAdmin is the administrator as the session service's OpenAPI document
// has him.
type serviceAdmin struct {
	*door
	base, authorization string
}

func (a serviceAdmin) Sessions(ctx context.Context, user string) ([]farmspec.SessionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, actionTime)
	defer cancel()
	var answer sessionsForm
	if err := a.send(ctx, http.MethodGet, a.base+"/v1/admin/sessions?user="+url.QueryEscape(user), a.authorization, nil, &answer); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return answer.infos(), nil
}

func (f sessionsForm) infos() []farmspec.SessionInfo {
	all := make([]farmspec.SessionInfo, len(f.Sessions))
	for i, s := range f.Sessions {
		all[i] = s.info()
	}
	return all
}

func (a serviceAdmin) terminate(ctx context.Context, what input) error {
	return a.post(ctx, "terminate", what)
}

func (a serviceAdmin) DisableUser(ctx context.Context, user string) error {
	return a.post(ctx, "disable", input{"user": user})
}

func (a serviceAdmin) EnableUser(ctx context.Context, user string) error {
	return a.post(ctx, "enable", input{"user": user})
}

func (a serviceAdmin) post(ctx context.Context, action string, what input) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, actionTime)
	defer cancel()
	if err := a.send(ctx, http.MethodPost, a.base+"/v1/admin/"+action, a.authorization, body, nil); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

func (a serviceAdmin) EndHTTPSession(ctx context.Context, id string) error {
	return a.terminate(ctx, input{"http_session": id})
}

func (a serviceAdmin) EndSession(ctx context.Context, ref string) error {
	return a.terminate(ctx, input{"session": ref})
}

func (a serviceAdmin) EndUser(ctx context.Context, user string) error {
	return a.terminate(ctx, input{"user": user})
}

func (a serviceAdmin) EndAll(ctx context.Context) error { return a.terminate(ctx, input{"all": true}) }

// recipeAdmin is an administrator by recipes.
type recipeAdmin struct {
	*door
	Admin
}

func (a recipeAdmin) Sessions(ctx context.Context, user string) ([]farmspec.SessionInfo, error) {
	var answer sessionsForm
	if err := a.do(ctx, a.Admin.Sessions, input{"user": user}, &answer); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return answer.infos(), nil
}

func (a recipeAdmin) end(ctx context.Context, line string, what input) error {
	if err := a.do(ctx, line, what, nil); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	return nil
}

func (a recipeAdmin) EndHTTPSession(ctx context.Context, id string) error {
	return a.end(ctx, a.Admin.EndHTTPSession, input{"id": id})
}

func (a recipeAdmin) EndSession(ctx context.Context, ref string) error {
	return a.end(ctx, a.Admin.EndSession, input{"ref": ref})
}

func (a recipeAdmin) EndUser(ctx context.Context, user string) error {
	return a.end(ctx, a.Admin.EndUser, input{"user": user})
}

func (a recipeAdmin) EndAll(ctx context.Context) error { return a.end(ctx, a.Admin.EndAll, input{}) }

func (a recipeAdmin) DisableUser(ctx context.Context, user string) error {
	if err := a.do(ctx, a.Admin.DisableUser, input{"user": user}, nil); err != nil {
		return fmt.Errorf("disable %s: %w", user, err)
	}
	return nil
}

func (a recipeAdmin) EnableUser(ctx context.Context, user string) error {
	if err := a.do(ctx, a.Admin.EnableUser, input{"user": user}, nil); err != nil {
		return fmt.Errorf("enable %s: %w", user, err)
	}
	return nil
}

// database looks into the common session database.
type database struct {
	*door
	Database
}

func (b database) Rows(ctx context.Context, user string) ([]farmspec.Row, error) {
	var answer sessionsForm
	if err := b.do(ctx, b.Database.Rows, input{"user": user}, &answer); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	rows := make([]farmspec.Row, len(answer.Sessions))
	for i, s := range answer.Sessions {
		rows[i].SessionInfo = s.info()
		if s.Token != nil {
			rows[i].Token = s.Token.plain()
		}
	}
	return rows, nil
}

func (b database) SetToken(ctx context.Context, ref string, t farmspec.PlainToken) error {
	if err := b.do(ctx, b.Database.SetToken, input{"ref": ref, "token": formOf(t)}, nil); err != nil {
		return fmt.Errorf("set token: %w", err)
	}
	return nil
}

func (b database) Remove(ctx context.Context, ref string) error {
	if err := b.do(ctx, b.Database.Remove, input{"ref": ref}, nil); err != nil {
		return fmt.Errorf("remove row: %w", err)
	}
	return nil
}

func (b database) FailNext(ctx context.Context, trace string) error {
	if err := b.do(ctx, b.Database.FailNext, input{"trace": trace}, nil); err != nil {
		return fmt.Errorf("fail the next write: %w", err)
	}
	return nil
}

// logs reads what parts have written.
type logs struct {
	*door
	parts map[string]string
}

func (l logs) Read(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	for name, line := range l.parts {
		var text plainText
		if err := l.do(ctx, line, nil, &text); err != nil {
			return nil, fmt.Errorf("read the log of %s: %w", name, err)
		}
		all[name] = string(text)
	}
	return all, nil
}

// keys opens and seals. The interface has no context for these; actionTime
// bounds them.
type keys struct {
	*door
	Keys
}

func (k keys) Open(sealed string) (farmspec.PlainToken, error) {
	var answer tokenAnswer
	if err := k.do(context.Background(), k.Keys.Open, input{"sealed": sealed}, &answer); err != nil {
		return farmspec.PlainToken{}, fmt.Errorf("open token: %w", err)
	}
	if answer.Token == nil {
		return farmspec.PlainToken{}, fmt.Errorf("open token: %w", farmspec.ErrRefused)
	}
	return answer.Token.plain(), nil
}

func (k keys) Seal(t farmspec.PlainToken) (string, error) { return k.seal(k.Keys.Seal, t) }

func (k keys) SealForeign(t farmspec.PlainToken) (string, error) {
	return k.seal(k.Keys.SealForeign, t)
}

func (k keys) seal(line string, t farmspec.PlainToken) (string, error) {
	var answer sealedAnswer
	if err := k.do(context.Background(), line, input{"token": formOf(t)}, &answer); err != nil {
		return "", fmt.Errorf("seal token: %w", err)
	}
	if answer.Sealed == "" {
		return "", fmt.Errorf("seal token: the answer has no sealed token")
	}
	return answer.Sealed, nil
}

func (k keys) Rotate(ctx context.Context, members int) error {
	if err := k.do(ctx, k.Keys.Rotate, input{"members": members}, nil); err != nil {
		return fmt.Errorf("rotate keys: %w", err)
	}
	return nil
}
