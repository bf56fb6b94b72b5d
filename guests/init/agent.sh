#!/bin/sh
# The host's hand in the default guest: runs commands beside the shell. src/library/agent.ts is its other end.
# Over the port $1 come lines and go lines; the port $2 brings the bytes of commands' standard inputs.
#   from the host   run ID 0|1 COMMAND (1: with standard input; a word for the shell, $newline in it)   in ID CHUNK BYTES   end ID   kill ID SIGNAL   hello
#   to the host     ready   out ID BASE64   err ID BASE64   took ID (a chunk)   exit ID CODE
exec 3<>"/dev/$1" 4<"/dev/$2"
# While they are open: a console of Xen's forgets its modes when it is closed.
for port in 3 4; do stty raw -echo crtscts <&$port; done
# A program that is started costs the guest some 600,000 instructions: an answer waits for as few as possible.
newline='
'
work=/run/paravirt
mkdir -p $work

# What comes in goes out in lines, each by one write, so that commands can share the port.
encode() {
  part=$work/$2/$1.part
  while dd bs=49152 count=1 of=$part 2>/dev/null && [ -s $part ]; do echo "$1 $2 $(base64 -w0 $part)" >&3; done
}

# The chunks whose numbers come by descriptor 7.
feed() {
  while read -r chunk <&7 && [ "$chunk" != end ]; do
    cat "$work/$1/$chunk"
    rm "$work/$1/$chunk"
    echo "took $1" >&3
  done
}

run() {
  dir=$work/$1 in=/dev/null feeder=
  eval "command=$3"
  mkfifo $dir/out $dir/err
  encode out $1 < $dir/out & out=$!
  encode err $1 < $dir/err & err=$!
  if [ $2 = 1 ]; then
    in=$dir/in
    mkfifo $in
    feed $1 > $in & feeder=$!
  fi
  setsid sh -c "$command" < $in > $dir/out 2> $dir/err 3<&- 4<&- 7<&- &
  echo $! > $dir/pid
  wait $!
  code=$?
  [ "$feeder" ] && kill $feeder
  wait $out $err
  echo "exit $1 $code" >&3
  rm -rf $dir
}

echo ready >&3
while read -r word id rest <&3; do
  dir=$work/$id
  case $word in
    run)
      mkdir -p $dir
      if [ ${rest%% *} = 1 ]; then
        mkfifo $dir/queue
        exec 7<>$dir/queue
      fi
      # Somebody else's child: busybox's read forgets the line that it has begun when one of its shell's own ends.
      (run $id ${rest%% *} "${rest#* }" &)
      exec 7<&-
      ;;
    in)
      # All bytes are taken from the port, whether there is still somebody to take them.
      dd bs=${rest#* } count=1 iflag=fullblock of=$work/chunk <&4 2>/dev/null
      mv $work/chunk $dir/${rest% *} 2>/dev/null && echo ${rest% *} 1<>$dir/queue
      ;;
    end) [ -p $dir/queue ] && echo end 1<>$dir/queue ;;
    kill) [ -f $dir/pid ] && kill -$rest -$(cat $dir/pid) ;;
    hello) echo ready >&3 ;;
  esac
done 2>/dev/null
