"""Chinese: what the documents made by make.py have in Chinese. The texts of --help come from the catalogue.

Each English text that is missing here is an error, so a new one cannot be forgotten.
"""

CLI = """\
`preheat VERB …`；单独的 `--` 之后是应用自己的命令，preheat 不解析。给人看的消息写到 stderr，结果写到 stdout。加 `--json` 时，stdout
每行一个 JSON 对象，都带 `event`；最后一个是 `done`，带有这个命令的数字，或者是 `error`，带有 `kind`、`message` 和 `hint`。`run` 把
stdout 留给应用，JSON 写到 stderr；`--events FILE` 把 JSON 写到文件，加不加 `--json` 都可以。大小按十进制字节计（`50M` 是
50,000,000），速率是每秒字节数，时间写作 `40ms`、`3s`、`2m`、`1h`。

## 服务器迟迟不响应、重启，或者线路中断

- `--connect-timeout` 和 `--read-timeout` 限制等待建立连接和第一个字节的时间，不会因此重复请求任何字节。
- 在这次命令里已经响应过的 hub 或 registry，可以有 `--patience` 这么久连不上。这期间命令用一个连接重试，间隔最多 5 秒，并且倒计时：
  在终端上显示在进度条那一行，否则每 15 秒一行，加 `--json` 时每秒一个 `away` 事件（`what`、`reason`、距下次尝试的 `wait_s`、
  距放弃的 `left_s`）。超过之后以状态码 3 结束（registry 是 6），已经到达的字节都保留，下次拉取接着下。
- 从没响应过的服务器立刻失败：多半是地址写错了，或者这台机器没有网络。连接被拒绝、域名查不到时，重试约 6 秒；地址不响应时，
  等一个超时。
- `Retry-After` 在耐心时间之内照办；更长的立刻报错，并说明要等多久。

退出码：[exit-codes.md](exit-codes.md)。环境变量：[config.md](config.md)。配方（英文）：[recipes.md](../recipes.md)。
"""

ERRORS = """\
按原因排列。加 `--json` 时，错误的 `kind` 就是第二列的名字。
"""

RUN = """
应用以 0 结束，`run` 就以 0 结束。应用以别的状态结束时会被重启；重启次数用完、一直没有就绪或者无法启动，都是 `AppError`。
出现 traceback 说明 preheat 有 bug，状态码为 1。
"""

ENDS = (
    "| 130 | | 被 Ctrl-C 中断；临时文件已删除，提示里说明保留了什么 |",
    "| 143 | | 同上，由 SIGTERM 引起；`mirror` 收到这两种信号都会平稳停止，以 0 结束 |",
    "| 128 + N | | 仅限 `run`：收到信号 N，让应用停止（143：SIGTERM） |",
)

# Of each class of errors, when it is raised.
WHEN = {
    "PreheatError": "其他错误",
    "UsageError": "参数或设置无效",
    "HubError": "hub 拒绝了请求，或者响应无效",
    "NotFound": "hub 上没有这个仓库、版本或文件",
    "AccessDenied": "hub 要求令牌、换一个令牌，或者先同意条款",
    "HubUnavailable": "连不上 hub，或者 hub 要求稍后再试",
    "MirrorBusy": "镜像站暂时没有余量处理请求，与它的上游无关",
    "NoTls": "服务器不支持 TLS",
    "NoSize": "服务器没有给出文件大小；除非锁文件里有，否则必须知道",
    "NoRanges": "hub 不支持对文件的分段请求",
    "IntegrityError": "内容与预期的摘要或大小不符",
    "LibraryError": "模型库读不了或写不了，或者缺少要用的模型",
    "NotPreloaded": "模型库里没有某个模型或文件",
    "NoSpace": "磁盘剩余空间不够",
    "Incomplete": "只完成了一部分",
    "Occupied": "视图要用的路径上有不是 preheat 放的文件",
    "Busy": "锁被另一个进程占着",
    "ImageError": "容器镜像读不了或写不了",
    "AppError": "应用没有启动、没有保持运行，或者连了网",
    "CheckFailed": "检查发现了问题",
    "NotReplayed": "应用只凭配方和模型库启动不了，或者无法重放",
}

READ = """\
除了应用自己的 [preheat.toml（英文）](../recipes.md)，没有别的配置文件。命令行选项优先于环境变量；空的变量等于没有设置。

## preheat 读取的变量

| 变量 | 含义 |
|---|---|"""

VARIABLES = {
    "PREHEAT_LIBRARY": "模型库；`--library` 优先；默认是用户数据目录下的 `preheat/library`",
    "HF_ENDPOINT": "Hugging Face 的端点；`--endpoint hf=URL` 优先；默认 `https://huggingface.co`",
    "HF_TOKEN": "Hugging Face 的令牌",
    "HUGGING_FACE_HUB_TOKEN": "`HF_TOKEN` 的旧名",
    "HF_TOKEN_PATH": "令牌文件，上面两个变量都没设时读取；默认是 `HF_HOME` 下的 `token`",
    "HF_HOME": "Hugging Face 工具的目录；默认是 `XDG_CACHE_HOME` 下的 `huggingface`",
    "MODELSCOPE_ENDPOINT": "ModelScope 的端点；`--endpoint ms=URL` 优先；默认 `https://modelscope.cn`",
    "MODELSCOPE_API_TOKEN": "ModelScope 的令牌",
    "PREHEAT_MIRROR_TOKEN": "`mirror` 的客户端要用的令牌，可与 `--token-file` 并用；默认不要求",
    "HOME": "用户的主目录；默认取 passwd(5) 里的",
    "XDG_CACHE_HOME": "用户的缓存目录；默认 `~/.cache`",
    "XDG_CONFIG_HOME": "用户的设置目录，里面可能有 `containers/auth.json`；默认 `~/.config`",
    "HTTP_PROXY": "访问 `http:` 网址的代理；这一个和下面三个，小写的名字优先",
    "HTTPS_PROXY": "访问 `https:` 网址的代理",
    "ALL_PROXY": "前两个变量没有管到的网址用的代理；见[经由代理](#behind-a-proxy)",
    "NO_PROXY": "不走代理的主机，用逗号或空格隔开",
    "DOCKER_CONFIG": "docker 的 `config.json` 所在目录，用于登录 registry；默认 `~/.docker`",
    "REGISTRY_AUTH_FILE": "podman 和 skopeo 写的 registry 登录文件，最先查找",
    "XDG_RUNTIME_DIR": "含有 `containers/auth.json` 的目录，里面是 podman 和 skopeo 的登录",
    "SSL_CERT_FILE": "CA 证书文件，代替系统的",
    "REQUESTS_CA_BUNDLE": "同上，没设 `SSL_CERT_FILE` 时有效；requests 和旧版 `hf` 读它",
    "CURL_CA_BUNDLE": "同上，前两个都没设时有效；curl 读它",
}

SET = """
preheat 用到的 Python 包还会读别的变量。`XDG_DATA_HOME` 决定用户数据的位置（默认 `~/.local/share`）。`XDG_STATE_HOME`
决定不属于模型库的文件放在哪里（默认 `~/.local/state`）：模型库不可写时的视图，正在运行的应用和镜像站的记录，供 doctor 使用的启动耗时，prove 挪开的文件、
[fold（英文）](../fold.md)换成链接的文件的日志，以及 `fold` 记住的摘要。`LC_ALL`、`LC_MESSAGES` 和 `LANG` 决定 `--help` 的语言；
`NO_COLOR`、`FORCE_COLOR`、`TERM` 和 `COLUMNS` 描述终端。

有些命令读得更多：`pull` 读 `HF_HUB_CACHE`、`MODELSCOPE_CACHE` 和 `TORCH_HOME` 指向的缓存；`run`、`prove`、`doctor` 和
`serve-config systemd` 用 `PREHEAT_CRIU` 指向的 CRIU 做[内存快照（英文）](../memory-snapshots.md)；`fold` 读
[应用一览（英文）](../fold.md#apps-and-the-links-that-are-safe-for-each)里的变量。`build` 把给 podman 和 docker 的归档写到 `TMPDIR`
（默认 `/var/tmp`）。`push` 和 `pull --from` 用各家服务自己的变量登录[对象存储（英文）](../stores.md#logins)。

<a id="behind-a-proxy"></a>

## 经由代理

`https_proxy`、`http_proxy` 和 `all_proxy` 指定拉取、镜像站的上游、registry 和 `trace` 使用的代理：

```sh
export https_proxy=http://USER:PASSWORD@proxy.example:3128   # http:// 可以省略
export no_proxy=localhost,127.0.0.1,.corp.example,10.0.0.0/8
```

- 地址以 `http://`、`https://`（到代理这一段用 TLS）、`socks5://`（域名在本机解析）或 `socks5h://`（由代理解析；`socks://` 相同）
  开头。SOCKS 需要 PySocks，即可选依赖 `socks`。
- 密码里的 `@` 写成 `%40`，`:` 写成 `%3A`，`/` 写成 `%2F`，`%` 写成 `%25`。密码只发给代理，从不打印。
- `https:` 网址经隧道（CONNECT）访问：代理只看得到主机名和字节数。拆开 TLS 的代理，要用 `SSL_CERT_FILE` 指出它的 CA 文件。
- `no_proxy` 里可以写域名（`corp.example` 和 `.corp.example` 都包括其下的所有域名）、地址、网段和通配符（`*.corp.example`），
  都可以带端口；`*` 是所有主机。重定向的目标另外判断。
- 应用请求自己的页面时，`no_proxy` 里要有 `localhost`：`run` 和 `trace` 会加上。
- 守护进程的探针从不走代理。镜像站检查重定向是否指向内网时，看的是网址里的地址；代理怎样解析域名，它查不到。
- 在 CGI 程序里（设了 `REQUEST_METHOD`），大写的 `HTTP_PROXY` 不读，因为客户端可以伪造它。

出错时会指出是哪个代理、哪个变量。状态码 407 表示缺少用户名和密码，或者写错了。

## `run` 给应用设置的变量

其他变量原样传给应用，令牌也不例外。配方的 `env` 最后设置，优先。每个开关有哪些库会读，见 [offline.md](offline.md)。

| 变量 | 值 |
|---|---|"""

PROVE = """\
| `NO_PROXY`、`no_proxy` | 原来的值，加上 `localhost`、`127.0.0.1`、`::1` |
| `HF_HUB_CACHE`、`HUGGINGFACE_HUB_CACHE` | 应用的视图所在目录，如果有视图 |

`prove` 对冷启动以外的启动设置同样的变量，冷启动一个也不设。所有启动的 `HF_HOME`、`MODELSCOPE_CACHE`、`TORCH_HOME` 和
`XDG_CACHE_HOME` 都是新目录，`HF_ENDPOINT` 和 `MODELSCOPE_ENDPOINT` 是测量用的端点，`PYTHONPATH` 以计时程序的目录开头
（[proof.md（英文）](../proof.md)）。
"""

OFFLINE = """\
`preheat run`、`preheat prove` 的离线启动和 `preheat build` 生成的容器镜像，都给应用设置这些变量。每一个都在最后一列的发布包里核对过。
配方的 `env` 最后设置：需要遥测或实验跟踪服务器的应用，可以在那里打开。配方里写了 `hub = true` 时，不设那些切断一切 hub 请求的开关。

开关要靠库来遵守。`preheat run --network watch` 统计应用的对外连接尝试（[定义（英文）](../guard.md#without-a-network)），
`--network none` 则拦住它们。
"""

# What a switch stops.
STOPS = {
    "telemetry": "遥测",
    "the same": "同上",
    "all requests to the hub": "对 hub 的一切请求",
    "update check": "检查更新",
    "telemetry, update check": "遥测、检查更新",
    "transfers by Xet": "经由 Xet 的传输",
    "all automatic requests": "一切自动请求",
    "all automatic downloads": "一切自动下载",
    "search for a reachable hub": "寻找连得上的 hub",
    "uploads of runs": "上传实验记录",
    "uploads of traces": "上传调用记录",
    "error reports": "错误报告",
    "price list": "价目表",
}

NO_SWITCH = """
## 没有变量可用的库

| 库 | 行为 | 办法 |
|---|---|---|
| modelscope 1.40 | 每次调用都问 hub | 在应用里写 `local_files_only=True`，或者用 `flat` 视图 |
| kagglehub 1.0 | 一调用就下载 | 用配方把文件放好 |
| nltk 3.10 | 调用 `nltk.download` 时下载 | 数据放好，设 `NLTK_DATA` |
| dvc 3.67 | 检查更新 | `dvc config core.check_update false` |
| comet_ml 3.58 | 上传实验 | 在应用里用 `comet_ml.OfflineExperiment` |
"""
