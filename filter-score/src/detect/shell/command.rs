//! Programs and built-ins of Unix and Windows shells that attackers call.

/// A known command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Its name means nothing outside of a shell.
    Tool,
    /// A tool of Windows, whose options begin with a slash.
    WindowsTool,
    /// Its name is a word of English.
    Word,
    /// A word of English; it reads or writes the files that it is given.
    Filing,
    /// A word of English; it takes a number or an address.
    Counting,
    /// A word of English; it takes any text.
    Printing,
    /// `net`, `reg` and others of Windows, with the words that come next.
    Management,
}

impl Command {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"whoami" | b"uname" | b"wget" | b"curl" | b"netcat" | b"ncat" | b"nslookup" | b"ifconfig"
            | b"netstat" | b"printenv" | b"tftp" | b"telnet" | b"passwd" | b"chmod" | b"chown"
            | b"mkfifo" | b"crontab" | b"traceroute" | b"nmap" | b"socat" | b"lsof" | b"useradd"
            | b"adduser" | b"usermod" | b"bash" | b"zsh" | b"ksh" | b"csh" | b"sh" | b"perl" | b"python"
            | b"python2" | b"python3" | b"ruby" | b"php" | b"lua" | b"xxd" | b"base64" | b"awk" | b"gawk"
            | b"sed" | b"grep" | b"egrep" | b"ls" | b"ps" | b"pwd" | b"rm" | b"cp" | b"mv" | b"nc"
            | b"dig" | b"ssh" | b"scp" | b"tac" | b"xargs" | b"tee" | b"killall" | b"mkdir" | b"rmdir"
            | b"chattr" | b"busybox" | b"hexdump" | b"phpinfo" | b"lscpu" | b"dmesg" | b"iptables"
            | b"systemctl" | b"nohup" | b"rev" | b"nl" | b"gcc" | b"apt-get" | b"yum" | b"openssl"
            | b"tar" | b"lynx" | b"sysinfo" | b"getent" | b"uptime" | b"pkill" | b"false" | b"true"
            | b"fgrep" | b"uniq" => Self::Tool,
            b"ipconfig" | b"systeminfo" | b"tasklist" | b"taskkill" | b"powershell" | b"pwsh"
            | b"certutil" | b"bitsadmin" | b"cmd" | b"netsh" | b"schtasks" | b"mshta" | b"rundll32"
            | b"regsvr32" | b"cscript" | b"wscript" | b"tracert" | b"icacls" | b"cacls" | b"xcopy"
            | b"vssadmin" | b"wevtutil" | b"findstr" | b"dir" | b"ver" => Self::WindowsTool,
            b"net" | b"reg" | b"wmic" | b"sc" | b"start" => Self::Management,
            b"cat" | b"more" | b"less" | b"head" | b"tail" | b"find" | b"sort" | b"cut" | b"type"
            | b"copy" | b"del" | b"touch" | b"strings" | b"od" | b"diff" | b"split" | b"move" | b"source"
            | b"stat" | b"file" => Self::Filing,
            b"sleep" | b"ping" | b"kill" | b"timeout" | b"host" | b"shutdown" | b"reboot" => Self::Counting,
            b"echo" | b"printf" | b"eval" | b"exec" | b"mail" | b"export" => Self::Printing,
            b"id" | b"who" | b"w" | b"date" | b"env" | b"set" | b"hostname" | b"test" | b"history"
            | b"mount" | b"users" | b"last" | b"finger" | b"ftp" | b"node" | b"route" | b"jobs" | b"at"
            | b"read" => Self::Word,
            _ => return None,
        })
    }

    /// Whether the name is a word that prose has after a semicolon or ampersand.
    pub(super) fn prose(self) -> bool {
        !matches!(self, Self::Tool | Self::WindowsTool)
    }

    pub(super) fn windows(self) -> bool {
        matches!(self, Self::WindowsTool | Self::Management)
    }

    pub(super) fn reads_files(self) -> bool {
        matches!(self, Self::Filing | Self::Tool)
    }

    pub(super) fn takes_number(self) -> bool {
        matches!(self, Self::Counting | Self::Tool)
    }

    pub(super) fn takes_text(self) -> bool {
        matches!(
            self,
            Self::Printing | Self::Tool | Self::WindowsTool | Self::Filing
        )
    }

    /// Whether the command's own syntax has this word after it.
    pub(super) fn takes(self, word: &[u8]) -> bool {
        const MANAGEMENT: [&[u8]; 16] = [
            b"user",
            b"localgroup",
            b"view",
            b"share",
            b"use",
            b"group",
            b"accounts",
            b"query",
            b"add",
            b"save",
            b"delete",
            b"firewall",
            b"process",
            b"os",
            b"cmd",
            b"advfirewall",
        ];
        match self {
            Self::Management => MANAGEMENT.iter().any(|known| word.eq_ignore_ascii_case(known)),
            Self::WindowsTool => [
                &b"firewall"[..],
                b"advfirewall",
                b"interface",
                b"wlan",
                b"iex",
                b"invoke-expression",
            ]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known)),
            Self::Counting => word.eq_ignore_ascii_case(b"localhost"),
            _ => false,
        }
    }
}

/// Commands that run the command after them.
pub(super) fn is_prefix(name: &[u8]) -> bool {
    matches!(
        name,
        b"sudo"
            | b"nohup"
            | b"time"
            | b"env"
            | b"command"
            | b"busybox"
            | b"builtin"
            | b"nice"
            | b"setsid"
            | b"exec"
            | b"do"
            | b"then"
    )
}
