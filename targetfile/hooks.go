package targetfile

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
)

// hooks makes hooks of the file's commands.
func (s *Source) hooks(dir string) {
	f, d, t := &s.File, s.d, s.Target
	var names []string
	for _, m := range f.Members {
		names = append(names, m.Name)
	}
	names = append(names, farmspec.ServiceProcess, farmspec.DatabaseProcess)
	for name, p := range f.Hooks.Processes {
		at := "hooks.processes." + name
		if !slices.Contains(names, name) {
			d.at(at, remedy(name, names), "hooks.processes has the unknown part %q", name)
		}
		s.action(at+".stop", p.Stop)
		s.action(at+".start", p.Start)
	}
	if len(f.Hooks.Processes) > 0 {
		t.Hooks.Processes = processes{f.Hooks.Processes, dir}
	}
	if advance := f.Hooks.Clock.Advance; advance != "" {
		if !strings.Contains(advance, "{seconds}") {
			d.at("hooks.clock.advance", "write {seconds} where the number goes", "hooks.clock.advance does not say how far")
		}
		s.action("hooks.clock.advance", advance)
		t.Hooks.Clock = &clock{advance: advance, dir: dir}
	}
}

// action checks a hook that is an HTTP request.
func (s *Source) action(at, line string) {
	address, ok := strings.CutPrefix(line, "POST ")
	if !ok {
		return
	}
	if u, err := url.Parse(strings.TrimSpace(address)); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		s.d.at(at, "write it like POST http://127.0.0.1:8099/stop", "%s has no address to post to", at)
	}
}

// actionTime bounds a hook.
const actionTime = 30 * time.Second

// act carries a hook out: a shell command in dir, or a POST.
func act(ctx context.Context, dir, line string) error {
	ctx, cancel := context.WithTimeout(ctx, actionTime)
	defer cancel()
	if address, ok := strings.CutPrefix(line, "POST "); ok {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSpace(address), nil)
		if err != nil {
			return fmt.Errorf("post: %w", err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("post: %w", err)
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("post: the answer is %d", resp.StatusCode)
		}
		return nil
	}
	c := exec.CommandContext(ctx, "sh", "-c", line)
	c.Dir = dir
	c.WaitDelay = time.Second // what it leaves behind may keep its output open
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState != nil && c.ProcessState.Success() {
		err = nil // it left something behind, as a start does
	}
	if err != nil {
		said := strings.TrimSpace(string(out))
		if i := strings.LastIndexByte(said, '\n'); i >= 0 {
			said = said[i+1:]
		}
		return fmt.Errorf("run the command: %w: %.200s", err, said)
	}
	return nil
}

// processes stops and starts parts as the file says.
type processes struct {
	parts map[string]Process
	dir   string
}

func (p processes) Stop(ctx context.Context, name string) error {
	part, ok := p.parts[name]
	if !ok {
		return fmt.Errorf("stop %s: %w", name, farmspec.ErrNoHook)
	}
	if err := act(ctx, p.dir, part.Stop); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}

func (p processes) Start(ctx context.Context, name string) error {
	part, ok := p.parts[name]
	if !ok {
		return fmt.Errorf("start %s: %w", name, farmspec.ErrNoHook)
	}
	if err := act(ctx, p.dir, part.Start); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// clock moves the farm's time as the file says.
type clock struct {
	advance, dir string
	moved        atomic.Int64 // how far, a time.Duration
}

func (c *clock) Now(context.Context) (time.Time, error) {
	return time.Now().Add(time.Duration(c.moved.Load())), nil
}

// Advance lets d pass, in whole seconds, the next one up.
func (c *clock) Advance(ctx context.Context, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("set the clock back: %w", farmspec.ErrNoHook)
	}
	seconds := int64((d + time.Second - 1) / time.Second)
	if err := act(ctx, c.dir, strings.ReplaceAll(c.advance, "{seconds}", strconv.FormatInt(seconds, 10))); err != nil {
		return fmt.Errorf("advance the clock: %w", err)
	}
	c.moved.Add(seconds * int64(time.Second))
	return nil
}

func (c *clock) Skew(context.Context, string, time.Duration) error {
	return fmt.Errorf("set one part's clock off: %w", farmspec.ErrNoHook)
}
