package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm"
	"github.com/farmspec/farmspec/targetfile"
)

// A served farm can be judged from another process like any other: its target
// file says where it is, and a control on loopback offers its clock,
// processes, database and keys to whoever has the file.

const (
	judgeAccounts = 100
	// Three digits keep one name from being the beginning of another.
	judgePattern = "judge-{nnn}"
)

// judgeUsers are the accounts for whoever judges the farm.
func judgeUsers(password string) []farmspec.User {
	users := make([]farmspec.User, judgeAccounts)
	for i := range users {
		users[i] = farmspec.User{Name: fmt.Sprintf("judge-%03d", i+1), Password: password}
	}
	return users
}

// writeTarget opens the farm's control and writes its target file, which only
// its owner may read: it has the credentials. It names metrics, the address of
// the farm's numbers, unless that is "". The function closes the control.
func writeTarget(path string, farm *simfarm.Farm, password, metrics string) (func(), error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the control of the farm: %w", err)
	}
	target, credential := farm.Target(), drawPassword()+drawPassword()
	control := &http.Server{Handler: targetfile.Control(target.Hooks, credential), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = control.Serve(ln) }() // until it is closed
	closeControl := func() { _ = control.Close() }

	parts := []string{farmspec.ServiceProcess, farmspec.DatabaseProcess}
	secrets := map[string]string{}
	for _, m := range target.Members {
		parts = append(parts, m.Name)
		h := http.Header{}
		err = errors.Join(err, target.Hooks.Service.Authorize(h, m.Name))
		secrets[m.Name] = "text:" + h.Get("Authorization")[len("Bearer "):]
	}
	if metrics != "" {
		target.Metrics = []string{metrics}
	}
	f := targetfile.Describe(target)
	f.Accounts = targetfile.Accounts{Pattern: judgePattern, Count: judgeAccounts, Password: "text:" + password}
	f.Hooks = targetfile.ControlHooks(target.Hooks, "http://"+ln.Addr().String(), parts)
	f.Hooks.Credential = "text:" + credential
	f.Hooks.Service = targetfile.Service{URL: farm.ServiceURL(), Credentials: secrets}
	f.Hooks.Admin = targetfile.Admin{URL: farm.ServiceURL(), Credential: "text:" + farm.AdminSecret()}
	if ca := farm.CA(); ca != nil {
		f.CA = filepath.Base(path) + ".ca.pem"
		err = errors.Join(err, writeWhole(path+".ca.pem", ca))
	}
	text := slices.Concat([]byte("# The reference farm as `farmspec serve` runs it, until it stops. It has credentials: keep it to yourself.\n"), f.YAML())
	if err == nil {
		err = writeSecret(path, text)
	}
	if err != nil {
		closeControl()
		return nil, usageError(fmt.Errorf("write target file: %w", err))
	}
	return closeControl, nil
}

// writeSecret replaces the file with a text that nobody else may read.
func writeSecret(path string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(text) // CreateTemp's mode is 0600
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
