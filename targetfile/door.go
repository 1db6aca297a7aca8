package targetfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// door carries out what hooks say, each a line: a request, which is a method
// and an address, or a shell command in the file's folder. What is asked goes
// in as a JSON object, in the body or on standard input, and an answer comes
// out as one. In an address {name} stands for a text or number of the input; a
// command finds those as FARMSPEC_NAME in its environment, so that no value
// becomes part of it, and numbers also where it says {name}.
//
// A door is safe for concurrent use.
type door struct {
	dir    string
	client *http.Client
	// authorization is sent with each request; "" is none.
	authorization string
}

const (
	// actionTime bounds a hook, and answerSize what it says.
	actionTime = 30 * time.Second
	answerSize = 16 << 20
)

func newDoor(t *farmspec.Target, dir, credential string) *door {
	d := &door{dir: dir, client: &http.Client{
		Transport:     t.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if credential != "" {
		d.authorization = "Bearer " + credential
	}
	return d
}

// methods are those that a line may begin with.
var methods = []string{http.MethodPost, http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete}

// request takes a line apart; false where it is a command.
func request(line string) (method, address string, ok bool) {
	method, address, ok = strings.Cut(line, " ")
	return method, strings.TrimSpace(address), ok && slices.Contains(methods, method)
}

// input is what a hook is asked.
type input map[string]any

// do carries a line out and reads the answer into out, unless nil. A line that
// is not there is [farmspec.ErrNoHook]; one that the farm refuses is
// [farmspec.ErrRefused].
func (d *door) do(ctx context.Context, line string, in input, out any) error {
	if line == "" {
		return farmspec.ErrNoHook
	}
	ctx, cancel := context.WithTimeout(ctx, actionTime)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write the input: %w", err)
	}
	method, address, ok := request(line)
	if !ok {
		return d.command(ctx, line, in, body, out)
	}
	for name, v := range in {
		if text, ok := scalarOf(v); ok {
			address = strings.ReplaceAll(address, "{"+name+"}", strings.ReplaceAll(url.QueryEscape(text), "+", "%20"))
		}
	}
	if method == http.MethodGet {
		body = nil
	}
	return d.send(ctx, method, address, d.authorization, body, out)
}

// scalarOf is a value that can stand in an address.
func scalarOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	}
	return "", false
}

// send makes a request and reads the answer. Its errors say nothing of the
// address but the host: there may be a token in it.
func (d *door) send(ctx context.Context, method, address, authorization string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: the address cannot be read", strings.ToLower(method))
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	action := strings.ToLower(method) + " to " + req.URL.Host
	resp, err := d.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%s: %w", action, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerSize))
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", action, err)
	}
	if resp.StatusCode/100 != 2 {
		err := fmt.Errorf("%s: the answer is %d", action, resp.StatusCode)
		var p problem
		if json.Unmarshal(answer, &p) == nil && p.Error != "" {
			err = fmt.Errorf("%w (%.200s)", err, p.Error)
		}
		switch {
		case p.Error == wordNoHook:
			return fmt.Errorf("%w: %w", farmspec.ErrNoHook, err)
		case slices.Contains(refusedStatus, resp.StatusCode) && p.Error != "path":
			return fmt.Errorf("%w: %w", farmspec.ErrRefused, err)
		}
		return err
	}
	return d.read(action, answer, out)
}

// refusedStatus are the answers that are no failure of the farm: it has
// understood, and says no.
var refusedStatus = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusGone}

// problem is the body of an answer that is no success.
type problem struct {
	Error string `json:"error"`
}

// wordNoHook is the error of a control that cannot do what it is asked.
const wordNoHook = "no-hook"

// plainText is an answer that is no JSON.
type plainText string

func (d *door) read(action string, answer []byte, out any) error {
	switch out := out.(type) {
	case nil:
		return nil
	case *plainText:
		*out = plainText(answer)
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: read the answer: it is not the JSON that is wanted", action)
	}
	return nil
}

func (d *door) command(ctx context.Context, line string, in input, body []byte, out any) error {
	c := exec.CommandContext(ctx, "sh", "-c", line)
	c.Env = os.Environ()
	for name, v := range in {
		text, ok := scalarOf(v)
		if !ok {
			continue
		}
		c.Env = append(c.Env, "FARMSPEC_"+strings.ToUpper(name)+"="+text)
		if _, isText := v.(string); !isText {
			c.Args[2] = strings.ReplaceAll(c.Args[2], "{"+name+"}", text)
		}
	}
	c.Dir = d.dir
	c.WaitDelay = time.Second // what it leaves behind may keep its output open
	c.Stdin = bytes.NewReader(body)
	var said, answer limited
	c.Stdout, c.Stderr = &answer, &said
	err := c.Run()
	if err != nil && c.ProcessState != nil && c.ProcessState.Success() {
		err = nil // it left something behind, as a start does
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		last := strings.TrimSpace(said.String())
		if i := strings.LastIndexByte(last, '\n'); i >= 0 {
			last = last[i+1:]
		}
		return fmt.Errorf("run the command: %w: %.200s", err, last)
	}
	return d.read("run the command", answer.Bytes(), out)
}

// limited keeps the beginning of what is written to it.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if room := answerSize - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}
