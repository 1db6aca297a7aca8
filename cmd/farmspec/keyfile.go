package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/reference"
)

// serveState is what a served farm needs again after a restart, besides its
// sessions.
type serveState struct {
	keys  []reference.Key
	users []farmspec.User
	note  string // for the person who started the farm
}

// keyFile is the JSON form of a serveState. It holds secrets in clear and is
// for its owner's eyes only (mode 0600).
type keyFile struct {
	Format string         `json:"format"`
	Keys   []keyFileKey   `json:"keys"` // the first seals
	Users  []keyFileLogin `json:"users"`
}

type keyFileKey struct {
	ID     byte   `json:"id"`
	Secret []byte `json:"secret"` // 32 bytes, base64
}

type keyFileLogin struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

const (
	keyFileFormat = "farmspec.keys/v1"
	maxKeyFile    = 1 << 20
)

func newServeState() (serveState, error) {
	k, err := reference.NewKey(1, rand.Reader)
	if err != nil {
		return serveState{}, err
	}
	s := serveState{keys: []reference.Key{k}}
	for _, name := range demoUsers {
		s.users = append(s.users, farmspec.User{Name: name, Password: drawPassword()})
	}
	return s, nil
}

// loadServeState reads a key file. It refuses one that others may read; a
// missing one is fs.ErrNotExist.
func loadServeState(path string) (serveState, error) {
	fail := func(hint string, err error) (serveState, error) {
		return serveState{}, &exitError{farmspec.ExitUsage, fmt.Errorf("read key file: %w", err), hint}
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return serveState{}, err
	}
	if err != nil {
		return fail("make it yours and readable: chown and chmod 600, or choose another --store", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return fail("", err)
	case !info.Mode().IsRegular():
		return fail("move it away; a new one is made", fmt.Errorf("%s is not a regular file", path))
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return fail("chmod 600 "+path, fmt.Errorf("%s may be read by others (mode %04o)", path, info.Mode().Perm()))
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return fail("", err)
	}
	s, err := parseKeyFile(text)
	if err != nil {
		return fail("restore it from a copy, or move it away: a new one is made, and everybody has to sign in again", fmt.Errorf("%s: %w", path, err))
	}
	return s, nil
}

// parseKeyFile reads a key file's text. Its errors quote nothing of it.
func parseKeyFile(text []byte) (serveState, error) {
	var f keyFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&f) != nil || d.Decode(&struct{}{}) != io.EOF {
		return serveState{}, errors.New("not a key file")
	}
	if f.Format != keyFileFormat {
		return serveState{}, fmt.Errorf("not a key file of format %s", keyFileFormat)
	}
	var s serveState
	seen := make(map[byte]bool)
	for _, k := range f.Keys {
		key := reference.Key{ID: k.ID}
		if len(k.Secret) != len(key.Secret) || seen[k.ID] {
			return serveState{}, fmt.Errorf("key %d is not of %d bytes, or not the only one of its number", k.ID, len(key.Secret))
		}
		seen[k.ID] = true
		copy(key.Secret[:], k.Secret)
		s.keys = append(s.keys, key)
	}
	for _, u := range f.Users {
		if u.Name == "" || u.Password == "" {
			return serveState{}, errors.New("a user without name or password")
		}
		s.users = append(s.users, farmspec.User(u))
	}
	if len(s.keys) == 0 || len(s.users) == 0 {
		return serveState{}, errors.New("no key, or no user")
	}
	return s, nil
}

// createServeState draws a state and writes it, whole or not at all. Where
// somebody else was faster, his is read.
func createServeState(path string) (serveState, error) {
	s, err := newServeState()
	if err != nil {
		return serveState{}, err
	}
	f := keyFile{Format: keyFileFormat}
	for _, k := range s.keys {
		f.Keys = append(f.Keys, keyFileKey{k.ID, k.Secret[:]})
	}
	for _, u := range s.users {
		f.Users = append(f.Users, keyFileLogin(u))
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = writeOnce(path, append(text, '\n'))
	}
	if errors.Is(err, fs.ErrExist) {
		return loadServeState(path)
	}
	if err != nil {
		return serveState{}, &exitError{farmspec.ExitUsage, fmt.Errorf("write key file: %w", err), "choose a folder you may write to, with --keys or --store sqlite:FILE"}
	}
	return s, nil
}

// writeOnce creates the file with mode 0600 and all of the text, durably, or
// leaves nothing under its name. fs.ErrExist where the name is taken.
func writeOnce(path string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if closing := tmp.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	err = os.Link(tmp.Name(), path)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		err = os.Rename(tmp.Name(), path) // a file system without links
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}
