#!/bin/sh
# The first process of the default guest: busybox's shell on the console, or one command whose output goes to the host.
echo 'paravirt: user space'

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
[ "$TERM" = linux ] && export TERM=vt102 # what the kernel gives init; a serial console is something else
/bin/busybox --install -s
# They tell init, which is this script; the kernel runs them when it is asked to stop.
for word in halt poweroff reboot; do
  rm /sbin/$word
  printf '#!/bin/sh\nexec /bin/busybox %s -f "$@"\n' $word > /sbin/$word
  chmod +x /sbin/$word
done

mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -a # /etc/fstab
hostname paravirt
cd /root

if [ -f /paravirt/modules ]; then
  # Devices of this machine: drivers appear a moment after their modules, or never if the kernel has none.
  while read -r module; do insmod "$module"; done < /paravirt/modules
  wait_for() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
      [ -e "$1" ] && return
      sleep 0.2
    done
    echo "paravirt: $1 does not appear" >&2
    return 1
  }
  while read -r disk; do wait_for "/dev/$disk"; done < /paravirt/disks
  while read -r card; do
    wait_for "/sys/class/net/$card" && ip link set "$card" up && udhcpc -i "$card" -s /usr/share/udhcpc/default.script -q -n -f > /dev/null 2>&1
  done < /paravirt/networks
fi

if [ -f /paravirt/exec ]; then
  # COM2 carries the command's standard output, COM3 its standard error, byte for byte; COM4 its exit code in decimal
  # and a newline. A guest of Xen or lguest has consoles instead, whose modes last while they are open. Setting a line's modes
  # also waits until all that was written to it has gone out.
  line=/dev/ttyS
  [ -e /sys/bus/xen/devices/console-1 ] || [ -e /sys/devices/lguest ] && line=/dev/hvc
  # Xen's console driver had only one console until Linux 3.4; a failing exec would end this shell, and with it the kernel.
  if ! (: > ${line}3) 2>/dev/null; then
    echo "paravirt: this kernel has no ${line}3, by which a command's result goes to the host; its shell works" >&2
    poweroff -f
  fi
  exec 3> ${line}1 4> ${line}2 5> ${line}3
  for n in 1 2 3; do stty -F ${line}$n 115200 raw -echo; done
  sh /paravirt/exec < /dev/null >&3 2>&4 3>&- 4>&- 5>&-
  code=$?
  for n in 1 2; do stty -F ${line}$n raw; done
  echo $code >&5
else
  # Commands of the host's beside the shell, where there are two more ports.
  ports='ttyS1 ttyS2'
  [ -e /sys/bus/xen/devices/console-2 ] || [ -e /sys/devices/lguest ] && ports='hvc1 hvc2'
  stty -F /dev/${ports#* } raw 2>/dev/null && setsid sh /paravirt/agent $ports < /dev/null > /dev/null 2>&1 &
  # The host may give the size of its window on the kernel's command line.
  [ -n "$LINES" ] && [ -n "$COLUMNS" ] && stty rows "$LINES" cols "$COLUMNS"
  setsid cttyhack sh -l
fi
poweroff -f
