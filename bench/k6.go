package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm/speed"
)

//go:embed hop.js
var k6Hop []byte

// k6Farm is what the script is told.
type k6Farm struct {
	Hosts    map[string]string `json:"hosts"`
	Domain   string            `json:"domain"`
	Cookie   string            `json:"cookie"`
	Servers  []k6Server        `json:"servers"`
	Sessions []session         `json:"sessions"`
	Rate     int               `json:"rate"`
	Duration string            `json:"duration"`
	// Mark is asked for when the load begins and when it has ended.
	Mark string `json:"mark"`
}

type k6Server struct {
	URL    string `json:"url"`
	Path   string `json:"path"`
	Marker string `json:"marker"`
}

// k6 has a session for each virtual user, who takes its token over the hop.
func (h *host) k6(ctx context.Context) (speed.Work, error) {
	program, err := find("k6")
	if err != nil {
		return speed.Work{}, err
	}
	target, err := h.farm()
	if err != nil {
		return speed.Work{}, err
	}
	farm := k6Farm{Hosts: target.Resolve, Cookie: target.Carrier.Name, Rate: loadRate}
	if farm.Sessions, err = signedIn(ctx, target); err != nil {
		return speed.Work{}, err
	}
	for _, m := range target.Members {
		i := slices.IndexFunc(target.Pages, func(p farmspec.Page) bool { return p.Member == m.Name })
		farm.Servers = append(farm.Servers, k6Server{m.URL, target.Pages[i].Path, target.Pages[i].Marker})
	}
	u, err := url.Parse(target.Members[0].URL)
	if err != nil {
		return speed.Work{}, err
	}
	_, farm.Domain, _ = strings.Cut(u.Hostname(), ".")
	return speed.Work{Measure: func(ctx context.Context, d time.Duration) (speed.Round, error) {
		farm.Duration = max(d, loadTime).String()
		return h.runK6(ctx, program, farm)
	}}, nil
}

func (h *host) runK6(ctx context.Context, program string, farm k6Farm) (speed.Round, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return speed.Round{}, err
	}
	var said, complained bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "run", "--quiet", "--no-usage-report", "--address", "", "--env", "FARM="+filepath.Join(h.dir, "farm.json"), filepath.Join(h.dir, "hop.js"))
	cmd.Stdout, cmd.Stderr = &said, &complained
	started := make(chan struct{})
	marks := make(chan k6Mark, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		<-started
		marks <- markOf(cmd.Process.Pid)
	})}
	go func() { _ = server.Serve(listener) }() // until it is closed
	defer server.Close()

	farm.Mark = "http://" + listener.Addr().String() + "/"
	text, err := json.Marshal(farm)
	if err := errors.Join(err, os.WriteFile(filepath.Join(h.dir, "farm.json"), text, 0o600), os.WriteFile(filepath.Join(h.dir, "hop.js"), k6Hop, 0o600)); err != nil {
		return speed.Round{}, err
	}
	if err := cmd.Start(); err != nil {
		return speed.Round{}, err
	}
	close(started)
	if err := cmd.Wait(); err != nil {
		return speed.Round{}, fmt.Errorf("run k6: %w: %s", err, bytes.TrimSpace(complained.Bytes()))
	}
	_, last, _ := strings.Cut(said.String(), "counted: ")
	var pages, refused, requests int
	if _, err := fmt.Sscanf(last, "%d pages, %d refused, %d requests", &pages, &refused, &requests); err != nil || pages == 0 || refused > 0 || requests < 2*pages || len(marks) != 2 {
		return speed.Round{}, fmt.Errorf("run k6: want pages over a hop and no refusals, got %q %q", said.String(), complained.String())
	}
	from, to := <-marks, <-marks
	if err := errors.Join(from.err, to.err); err != nil {
		return speed.Round{}, err
	}
	took := to.at.Sub(from.at)
	h.k6Rate = float64(pages) / took.Seconds()
	return speed.Round{N: pages, Wall: float64(took) / float64(pages), CPU: float64(to.cpu-from.cpu) / float64(pages), Bytes: -1, Allocs: -1}, nil
}

// k6Mark is what a process has spent by a moment.
type k6Mark struct {
	at  time.Time
	cpu time.Duration
	err error
}

// markOf reads /proc/PID/stat (proc(5)), in which the fields that follow the
// program's name in parentheses have utime and stime, in hundredths of a
// second, as the twelfth and the thirteenth.
func markOf(pid int) k6Mark {
	m := k6Mark{at: time.Now()}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		m.err = err
		return m
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		m.err = fmt.Errorf("read /proc/%d/stat: %d fields", pid, len(fields))
		return m
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	m.cpu, m.err = time.Duration(user+system)*10*time.Millisecond, errors.Join(err1, err2)
	return m
}
