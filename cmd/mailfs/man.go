package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newManCommand prints the manual page, for packages.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Short:  "Print the manual page, as the source of man",
		Args:   arguments(0, 0),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b strings.Builder
			writeManual(&b, cmd.Root())
			_, err := io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
}

// manualEnd is the end of the manual page, which the help of the commands does not have.
const manualEnd = `.SH ENVIRONMENT
.TP
.B MAILFS_PASSWORD
The password. It comes before all other sources. mailfs hands it on to no other program.
.TP
.B XDG_CONFIG_HOME, XDG_CACHE_HOME
The directories with the configuration and the cache, each in a directory mailfs.
.TP
.B NO_COLOR
If it is set, check prints without colours.
.SH FILES
.TP
.I ~/.config/mailfs/config.toml
The configuration.
.TP
.I ~/.cache/mailfs
Mail that you have read, and listings.
.SH MOUNTING AT BOOT
A line of
.BR fstab (5)
names a URL or a configuration file. At boot there is no keyring and no terminal, so the account needs a password_command. A mount
of root belongs to root, unless allow_other and uid give it to a user. With the option user, users mount it themselves:
.PP
.nf
    /etc/mailfs.toml  /srv/mail  mailfs  ro,_netdev,allow_other,uid=me  0  0
    imaps://me%40example.org@mail.example.org  /home/me/Mail  mailfs  noauto,user,password_command=pass\e040mail  0  0
.fi
.PP
The package has a unit of systemd, which mounts your mail when you log in:
.PP
.nf
    systemctl \-\-user enable \-\-now mailfs
.fi
.PP
All accounts of the configuration are then at ~/Mail.
.SH EXIT STATUS
0 on success, 1 after a failure, 2 for a wrong command line, 130 when interrupted.
.SH SEE ALSO
.BR fusermount3 (1),
.BR mount (8),
.BR fstab (5)
`

// writeManual writes the manual page mailfs(1), from the help of the commands.
func writeManual(b *strings.Builder, root *cobra.Command) {
	fmt.Fprintf(b, ".TH MAILFS 1 \"\" %q \"User Commands\"\n", strings.TrimPrefix(strings.SplitN(versionLine(), " (", 2)[0], " "))
	fmt.Fprintf(b, ".SH NAME\nmailfs \\- %s\n.SH SYNOPSIS\n", roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	for _, c := range shown(root) {
		fmt.Fprintf(b, ".B %s\n.br\n", roff(c.UseLine()))
	}
	fmt.Fprintf(b, ".SH DESCRIPTION\n%s\n", roffText(root.Long))
	b.WriteString(".SH COMMANDS\n")
	for _, c := range shown(root) {
		fmt.Fprintf(b, ".SS %s\n", roff(c.UseLine()))
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		b.WriteString(roffText(text) + "\n")
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { writeFlag(b, f) })
		if c.Example != "" {
			fmt.Fprintf(b, ".PP\n.nf\n%s\n.fi\n", roff(c.Example))
		}
	}
	b.WriteString(manualEnd)
}

// shown lists the commands below c for the manual page, without those that only group others.
func shown(c *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, sub := range c.Commands() {
		switch {
		case sub.Hidden || sub.Name() == "help" || sub.Name() == "completion":
		case sub.HasAvailableSubCommands():
			list = append(list, shown(sub)...)
		default:
			list = append(list, sub)
		}
	}
	return list
}

// writeFlag writes the paragraph of a flag.
func writeFlag(b *strings.Builder, f *pflag.Flag) {
	if f.Hidden || f.Name == "help" {
		return
	}
	value, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if value != "" {
		name += " " + value
	}
	if d := f.DefValue; d != "" && d != "false" && d != "[]" && !strings.Contains(usage, "default") {
		usage += " (default " + d + ")"
	}
	fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(usage))
}

// roff escapes text, so that man finds no request or escape in it.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// roffText makes paragraphs of text. Indented text keeps its lines.
func roffText(text string) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString("\n.PP\n")
		}
		if strings.HasPrefix(paragraph, "    ") {
			fmt.Fprintf(&b, ".nf\n%s\n.fi", roff(paragraph))
		} else {
			b.WriteString(roff(paragraph))
		}
	}
	return b.String()
}
